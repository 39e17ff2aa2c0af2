#include "tec/run/training_loop.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/fingerprint.h"
#include "tec/base/logging.h"
#include "tec/base/memory_reserve.h"
#include "tec/base/status.h"
#include "tec/base/version.h"
#include "tec/config/advice.h"
#include "tec/dist/replicas.h"
#include "tec/run/finished_run.h"
#include "tec/run/rank_runtime.h"
#include "tec/run/shared_run_state.h"
#include "tec/run/torch_runtime.h"

namespace tec {

TrainingLoop::TrainingLoop(RunContext& context, Task& task, const LoopOptions& options)
    : context_(context),
      task_(task),
      options_(options),
      agreement_(context),
      report_(context, task, options, plan_),
      keeper_(context, task, options, report_) {}

absl::Status TrainingLoop::Open() {
  const ProcessGroup::Work work(context_.group(), "opening the data and the model");
  // From here on the ranks are bound together: each learns of an error of the others.
  TEC_RETURN_IF_ERROR(context_.OnFirstRank([&]() -> absl::Status {
    if (options_.overwrite || !options_.resume.empty()) return absl::OkStatus();
    return CheckNotFinished(options_.output_dir, options_.epochs,
                            [this](const std::string& recorded) { return task_.DiffersFrom(recorded); });
  }));
  TEC_RETURN_IF_ERROR(context_.group().Agree([&]() -> absl::Status {
    TEC_RETURN_IF_ERROR(task_.OpenData());
    return keeper_.Open();
  }()));
  TEC_ASSIGN_OR_RETURN(std::optional<LoadedState> resume, FindSharedRunState(context_, options_, &keeper_.saver()));
  std::vector<std::string> changes;
  TEC_RETURN_IF_ERROR(context_.group().Agree([&]() -> absl::Status {
    TEC_ASSIGN_OR_RETURN(plan_, task_.Open(resume ? &*resume : nullptr));
    TEC_RETURN_IF_ERROR(CheckPlan(plan_, options_.data_path));
    if (task_.loader() != nullptr) agreement_.ShareBadImagesOf(*task_.loader());
    position_.epoch = options_.start_epoch;
    position_.updates = position_.epoch * plan_.updates_per_epoch();
    if (resume) {
      TEC_ASSIGN_OR_RETURN(position_, task_.Load(*resume, &changes));
      keeper_.saver().set_newest(resume->path);
    }
    position_.losses.resize(task_.loss_names().size());
    keeper_.Begin(position_);
    return absl::OkStatus();
  }()));
  TEC_RETURN_IF_ERROR(AlignRanks());
  TEC_RETURN_IF_ERROR(context_.group().Agree([&]() -> absl::Status {
    if (!context_.first_rank()) return absl::OkStatus();
    if (const std::string settings = task_.SettingsText(); !settings.empty()) {
      TEC_RETURN_IF_ERROR(WriteFile(absl::StrCat(options_.output_dir, "/experiment.textproto"), settings));
    }
    return report_.Open(position_);
  }()));
  if (resume) {
    context_.progress().Print(absl::StrFormat("resumed from %s: epoch %d, micro-step %d of %d, %d updates done",
                                              resume->path, position_.epoch, position_.next_micro_step,
                                              plan_.steps_per_epoch, position_.updates));
  }
  if (context_.first_rank()) {
    for (const std::string& change : changes) {
      TEC_LOG(WARNING) << "changed since the checkpoint, and applied from here on: " << change;
    }
  }
  return absl::OkStatus();
}

absl::Status TrainingLoop::AlignRanks() {
  if (context_.group().world_size() == 1) return absl::OkStatus();
  RankFacts facts = task_.Facts();
  facts.emplace_back("version", kVersion);
  facts.emplace_back("kind of device", context_.device().is_cpu() ? "cpu" : "cuda");
  facts.emplace_back("--bfloat16_gradients", Bfloat16Gradients() ? "on" : "off");
  facts.emplace_back("images in the data set", absl::StrCat(plan_.dataset_size));
  if (task_.loader() != nullptr) {
    const Dataset& dataset = task_.loader()->dataset();
    Fingerprint names;
    for (int64_t i = 0; i < dataset.size(); ++i) names.Add(absl::StrCat(dataset.name(i), "/", dataset.label(i)));
    facts.emplace_back("fingerprint of the images' names and labels", absl::StrCat(absl::Hex(names.value())));
  }
  TEC_RETURN_IF_ERROR(CompareFacts(context_.group(), facts));
  TEC_RETURN_IF_ERROR(SendReplicas(context_.group(), task_.Replicated()));
  return CheckRanks();
}

absl::Status TrainingLoop::CheckRanks() {
  const absl::Status same =
      CompareReplicas(context_.group(), task_.Replicated(),
                      position_.updates == 0 ? "at the start" : absl::StrCat("after update ", position_.updates));
  // Whose copy is good cannot be told: none is saved.
  if (absl::IsDataLoss(same)) {
    keeper_.MarkChanging();
    failure_.all_know = true;
  }
  return same;
}

absl::StatusOr<LoopResult> TrainingLoop::Run() {
  TEC_RETURN_IF_ERROR(Open());
  for (const std::string& line : task_.Describe()) context_.progress().Print(line);
  if (context_.first_rank()) {
    const RunSize size = {plan_.dataset_size, plan_.images_per_micro_step, plan_.accum_iter, options_.epochs,
                          options_.warmup_epochs};
    for (const std::string& advice : AdviceOnRun(size)) TEC_LOG(WARNING) << advice;
  }
  KeepFreedMemory();
  MemoryReserve reserve(size_t{64} << 20);  // For saving the state where there is no more memory.
  const absl::Status trained = CatchTorch([&]() -> absl::Status {
    // What is trained without it may be lost.
    if (!reserve.held())
      return absl::ResourceExhaustedError(
          "not enough memory: the system does not give the 64 MiB of addresses that the last save may need; raise "
          "its limit (ulimit -v, the batch system's)");
    return Train();
  });
  if (!trained.ok()) {
    reserve.Release();
    if (!failure_.all_know) context_.group().Fail(trained);
    absl::Status ended = trained;
    const absl::Status told = CatchTorch([&] {
      ended = keeper_.SaveAfter(trained);
      return absl::OkStatus();
    });
    if (!told.ok()) TEC_LOG(WARNING) << "the state could not be saved: " << told.message();
    return AsFailure(ended);
  }
  const RunClock::Span run = report_.clock().Since(RunClock::kRun);
  result_.stopped = position_.epoch < options_.epochs;
  result_.epochs = position_.epoch;
  result_.updates = position_.updates;
  result_.seconds = run.seconds;
  result_.images_per_second = report_.Rate(run);
  result_.checkpoint = keeper_.saver().newest();
  if (result_.stopped) {
    const std::string& newest = result_.checkpoint;
    context_.progress().Print(newest.empty()
                                  ? "stopped before the first update: nothing to save"
                                  : absl::StrCat("stopped; saved ", newest, "; the same command goes on from there"));
  }
  return result_;
}

absl::Status TrainingLoop::Train() {
  report_.clock().Start(RunClock::kRun);
  if (position_.epoch >= options_.epochs) context_.progress().Print("nothing is left to train: all epochs are done");
  while (position_.epoch < options_.epochs && !stop_) {
    TEC_RETURN_IF_ERROR(TrainEpoch());
    const bool unfinished = position_.next_micro_step < plan_.steps_done();
    const bool leaves_end = stop_ && task_.long_epoch_end();
    if (unfinished || (task_.long_epoch_end() && report_.clock().Since(RunClock::kEpoch).steps > 0)) {
      TEC_RETURN_IF_ERROR(SaveThis());
    }
    if (unfinished || leaves_end) break;
    const absl::Status finished = FinishEpoch();
    if (absl::IsCancelled(finished)) break;
    TEC_RETURN_IF_ERROR(finished);
  }
  TEC_RETURN_IF_ERROR(context_.group().Agree(failure_.own));
  return context_.OnFirstRank([&] { return keeper_.Wait(); }, "saving");
}

absl::Status TrainingLoop::TrainEpoch() {
  task_.StartEpoch(position_.epoch, position_.next_micro_step);
  report_.clock().Start(RunClock::kEpoch);
  keeper_.MarkWhole(position_);
  while (position_.next_micro_step < plan_.steps_done()) {
    TEC_RETURN_IF_ERROR(MicroStep());
    if (!agreement_.empty()) TEC_RETURN_IF_ERROR(LearnOfStop());
    if (stop_ && position_.next_micro_step < plan_.steps_done()) {
      // An update that is begun is done again, from its start.
      agreement_.Clear();
      position_ = keeper_.whole();
      return absl::OkStatus();
    }
  }
  // Left-over micro-steps.
  TEC_RETURN_IF_ERROR(CollectLosses().status());
  keeper_.MarkWhole(position_);
  return absl::OkStatus();
}

// An update of many micro-steps is not waited for. On a GPU the ranks ask one another at its end only: they would wait
// for the device, which micro-steps do not.
absl::Status TrainingLoop::LearnOfStop() {
  if (stop_ || !keeper_.is_whole() || (context_.group().world_size() > 1 && !context_.device().is_cpu())) {
    return absl::OkStatus();
  }
  return SayWhoStops(context_.stop_requested());
}

absl::Status TrainingLoop::SayWhoStops(bool this_rank) {
  TEC_ASSIGN_OR_RETURN(const std::vector<int> ranks, context_.group().Which(this_rank));
  stop_ = stop_ || !ranks.empty();
  if (ranks.empty() || context_.group().world_size() == 1) return absl::OkStatus();
  TEC_LOG(INFO) << "stopping: " << context_.group().NameOf(ranks[0])
                << (ranks.size() > 1 ? absl::StrCat(" and ", ranks.size() - 1, " more were") : " was") << " asked to";
  return absl::OkStatus();
}

absl::Status TrainingLoop::Keep(const absl::Status& error) {
  if (context_.group().world_size() == 1) return error;
  failure_.own.Update(error);
  return absl::OkStatus();
}

// At the epoch's last update the save at its end is near.
bool TrainingLoop::SaveIsDue() const {
  return options_.save_every_minutes > 0 && keeper_.saver().MinutesSinceSave() >= options_.save_every_minutes &&
         position_.next_micro_step < plan_.steps_in_updates();
}

absl::Status TrainingLoop::MicroStep() {
  report_.clock().Start(RunClock::kStep);
  const int64_t step = position_.next_micro_step;
  MicroStepPlace place;
  place.epoch = position_.epoch;
  place.step = step;
  place.in_update = step < plan_.steps_in_updates();
  place.ends_update = place.in_update && (step + 1) % plan_.accum_iter == 0;
  if (step % plan_.accum_iter == 0) {
    position_.lr = task_.LearningRate(static_cast<double>(step) / plan_.steps_per_epoch + position_.epoch);
  }
  const bool whole = keeper_.is_whole();
  if (task_.micro_steps_change_state()) keeper_.MarkChanging();
  absl::StatusOr<at::Tensor> losses = task_.MicroStep(place);
  if (!losses.ok()) {
    // Nothing is changed (tec/run/task.h).
    keeper_.MarkUnchanged(whole);
    return losses.status();
  }
  agreement_.Add(*std::move(losses));
  ++position_.next_micro_step;
  report_.clock().CountStep();
  if (place.ends_update) TEC_RETURN_IF_ERROR(FinishUpdate());
  report_.clock().EndStep();
  report_.ShowProgress(position_);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::vector<double>>> TrainingLoop::CollectLosses() {
  UpdateAgreement::Flags mine;
  const int save_requests = context_.save_requests();
  mine.stop = context_.stop_requested();
  // When a save is due is the first rank's to say: the clocks of the others may be otherwise.
  mine.save = save_requests > save_.agreed || (context_.first_rank() && SaveIsDue());
  mine.error = !failure_.own.ok();
  TEC_ASSIGN_OR_RETURN(UpdateAgreement::Agreed agreed, agreement_.Agree(mine));
  save_.agreed = save_requests;
  if (agreed.any.error) TEC_RETURN_IF_ERROR(context_.group().Agree(failure_.own));
  if (agreed.any.stop && !stop_) TEC_RETURN_IF_ERROR(SayWhoStops(mine.stop));
  save_.due = save_.due || agreed.any.save;
  const int64_t first = position_.next_micro_step - static_cast<int64_t>(agreed.losses.size());
  for (size_t step = 0; step < agreed.losses.size(); ++step) {
    const std::vector<double>& losses = agreed.losses[step];
    if (!std::isfinite(losses[0])) {
      std::string what = absl::StrFormat("the loss is not finite at epoch %d, micro-step %d of %d:", position_.epoch,
                                         first + static_cast<int64_t>(step), plan_.steps_per_epoch);
      for (size_t i = 0; i < losses.size(); ++i) absl::StrAppend(&what, " ", task_.loss_names()[i], " ", losses[i]);
      return NonFinite(what);
    }
    for (size_t i = 0; i < losses.size(); ++i) position_.losses[i].Add(losses[i]);
    position_.lrs.Add(position_.lr);
  }
  return std::move(agreed.losses);
}

// The sums over ranks are not finite on any rank if they are not on one, so that all ranks come here together.
absl::Status TrainingLoop::NonFinite(const std::string& what) {
  keeper_.MarkChanging();
  failure_.all_know = true;
  return absl::AbortedError(absl::StrFormat(
      "update %d: %s; lr %g. Stopped without saving; the newest checkpoint, from before, is %s. A lower --blr, "
      "--precision=float32 or --clip_grad may help",
      position_.updates + 1, what, position_.lr, keeper_.saver().WaitForNewest()));
}

absl::Status TrainingLoop::FinishUpdate() {
  TEC_ASSIGN_OR_RETURN(const auto losses, CollectLosses());
  const bool whole = keeper_.MarkChanging();
  const absl::StatusOr<UpdateResult> updated = task_.Update(position_.lr);
  if (!updated.ok()) {
    keeper_.MarkUnchanged(whole);
    return updated.status();
  }
  const UpdateResult& update = *updated;
  if (update.skipped && !update.loss_scale) {
    return NonFinite(absl::StrFormat("the gradient's norm is %g at epoch %d, micro-step %d of %d",
                                     update.grad_norm.value_or(NAN), position_.epoch, position_.next_micro_step - 1,
                                     plan_.steps_per_epoch));
  }
  ++position_.updates;
  keeper_.MarkWhole(position_);
  if (options_.stop_after_update && options_.stop_after_update(position_.updates)) stop_ = true;
  TEC_RETURN_IF_ERROR(Keep(report_.LogUpdate(position_, losses, update)));
  report_.clock().Start(RunClock::kUpdate);
  const bool save = std::exchange(save_.due, false);
  const int64_t check_every = context_.check_every();
  if (save || (check_every > 0 && position_.updates % check_every == 0)) TEC_RETURN_IF_ERROR(CheckRanks());
  if (!save || !context_.first_rank()) return absl::OkStatus();
  const ProcessGroup::Work work(context_.group(), "saving");
  return Keep(keeper_.SaveWhole());
}

absl::Status TrainingLoop::FinishEpoch() {
  const RunClock::Span span = report_.clock().Since(RunClock::kEpoch);
  EpochReport report;
  report.fields = {{"train_lr", position_.lrs.Mean()}};
  result_.losses.clear();
  for (size_t i = 0; i < position_.losses.size(); ++i) {
    result_.losses.push_back(position_.losses[i].Mean());
    report.fields.emplace_back(absl::StrCat("train_", task_.loss_names()[i]), result_.losses.back());
  }
  TEC_RETURN_IF_ERROR(CheckRanks());
  {
    // It may take long on one rank, as the monitor does.
    const ProcessGroup::Work work(context_.group(), "the end of an epoch");
    TEC_RETURN_IF_ERROR(
        context_.group().Agree(failure_.own.ok() ? task_.FinishEpoch(position_, &report) : failure_.own));
  }
  const RunPosition finished = position_;
  ++position_.epoch;
  position_.next_micro_step = 0;
  position_.losses.assign(position_.losses.size(), Meter());
  position_.lrs = Meter();
  return context_.OnFirstRank(
      [&]() -> absl::Status {
        // Before the checkpoint: a run that dies in between trains the epoch again and this line is taken away.
        TEC_RETURN_IF_ERROR(report_.LogEpoch(finished, span, &report));
        return keeper_.SaveEpoch(std::move(report), position_);
      },
      "saving");
}

absl::Status TrainingLoop::SaveThis() {
  TEC_RETURN_IF_ERROR(CheckRanks());
  return context_.OnFirstRank([&] { return failure_.own.ok() ? keeper_.SaveWhole() : failure_.own; }, "saving");
}

}  // namespace tec
