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
      clock_([&task] { return task.loader() == nullptr ? 0 : task.loader()->wait_seconds(); }),
      report_(context, task, options, plan_, clock_) {}

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
    if (context_.first_rank()) {
      TEC_ASSIGN_OR_RETURN(lock_, FolderLock::Take(options_.output_dir));
      // Not before: another process may be at work there.
      if (options_.overwrite) TEC_RETURN_IF_ERROR(RemoveRun(options_.output_dir));
    }
    TEC_ASSIGN_OR_RETURN(saver_, RunSaver::Open(options_.output_dir, options_.retention));
    return absl::OkStatus();
  }()));
  TEC_ASSIGN_OR_RETURN(std::optional<LoadedState> resume, FindSharedRunState(context_, options_, &*saver_));
  std::vector<std::string> changes;
  TEC_RETURN_IF_ERROR(context_.group().Agree([&]() -> absl::Status {
    TEC_ASSIGN_OR_RETURN(plan_, task_.Open(resume ? &*resume : nullptr));
    TEC_RETURN_IF_ERROR(CheckPlan(plan_, options_.data_path));
    if (task_.loader() != nullptr) bad_images_.emplace(*task_.loader(), context_.group());
    position_.epoch = options_.start_epoch;
    position_.updates = position_.epoch * plan_.updates_per_epoch();
    if (resume) {
      TEC_ASSIGN_OR_RETURN(position_, task_.Load(*resume, &changes));
      saver_->set_newest(resume->path);
    }
    position_.losses.resize(task_.loss_names().size());
    saved_ = position_;
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
    state_is_whole_ = false;
    all_know_ = true;
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
    if (!reserve.held()) return absl::ResourceExhaustedError("not enough memory to train and to save in");
    return Train();
  });
  if (!trained.ok()) {
    reserve.Release();
    if (!all_know_) context_.group().Fail(trained);
    absl::Status ended = trained;
    const absl::Status told = CatchTorch([&] {
      ended = SaveAfter(trained);
      return absl::OkStatus();
    });
    if (!told.ok()) TEC_LOG(WARNING) << "the state could not be saved: " << told.message();
    return AsFailure(ended);
  }
  const RunClock::Span run = clock_.Since(RunClock::kRun);
  result_.stopped = position_.epoch < options_.epochs;
  result_.epochs = position_.epoch;
  result_.updates = position_.updates;
  result_.seconds = run.seconds;
  result_.images_per_second = report_.Rate(run);
  result_.checkpoint = saver_->newest();
  if (result_.stopped) {
    context_.progress().Print(saver_->newest().empty() ? "stopped before the first update: nothing to save"
                                                       : absl::StrCat("stopped; saved ", saver_->newest(),
                                                                      "; the same command goes on from there"));
  }
  return result_;
}

absl::Status TrainingLoop::Train() {
  clock_.Start(RunClock::kRun);
  if (position_.epoch >= options_.epochs) context_.progress().Print("nothing is left to train: all epochs are done");
  while (position_.epoch < options_.epochs && !stop_) {
    TEC_RETURN_IF_ERROR(TrainEpoch());
    const bool unfinished = position_.next_micro_step < plan_.steps_done();
    const bool leaves_end = stop_ && task_.long_epoch_end();
    if (unfinished || (task_.long_epoch_end() && clock_.Since(RunClock::kEpoch).steps > 0)) {
      TEC_RETURN_IF_ERROR(SaveThis());
    }
    if (unfinished || leaves_end) break;
    const absl::Status finished = FinishEpoch();
    if (absl::IsCancelled(finished)) break;
    TEC_RETURN_IF_ERROR(finished);
  }
  TEC_RETURN_IF_ERROR(context_.group().Agree(own_error_));
  return context_.OnFirstRank([&] { return Saved(saver_->Wait()); }, "saving");
}

absl::Status TrainingLoop::TrainEpoch() {
  task_.StartEpoch(position_.epoch, position_.next_micro_step);
  clock_.Start(RunClock::kEpoch);
  whole_ = position_;
  state_is_whole_ = true;
  while (position_.next_micro_step < plan_.steps_done()) {
    TEC_RETURN_IF_ERROR(MicroStep());
    if (!agreement_.empty()) TEC_RETURN_IF_ERROR(LearnOfStop());
    if (stop_ && position_.next_micro_step < plan_.steps_done()) {
      // An update that is begun is done again, from its start.
      agreement_.Clear();
      position_ = whole_;
      return absl::OkStatus();
    }
  }
  // Left-over micro-steps.
  TEC_RETURN_IF_ERROR(CollectLosses().status());
  whole_ = position_;
  state_is_whole_ = true;
  return absl::OkStatus();
}

// An update of many micro-steps is not waited for. On a GPU the ranks ask one another at its end only: they would wait
// for the device, which micro-steps do not.
absl::Status TrainingLoop::LearnOfStop() {
  if (stop_ || !state_is_whole_ || (context_.group().world_size() > 1 && !context_.device().is_cpu()))
    return absl::OkStatus();
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
  own_error_.Update(error);
  return absl::OkStatus();
}

// At the epoch's last update the save at its end is near.
bool TrainingLoop::SaveIsDue() const {
  return options_.save_every_minutes > 0 && saver_->MinutesSinceSave() >= options_.save_every_minutes &&
         position_.next_micro_step < plan_.steps_in_updates();
}

absl::Status TrainingLoop::MicroStep() {
  clock_.Start(RunClock::kStep);
  const int64_t step = position_.next_micro_step;
  MicroStepPlace place;
  place.epoch = position_.epoch;
  place.step = step;
  place.in_update = step < plan_.steps_in_updates();
  place.ends_update = place.in_update && (step + 1) % plan_.accum_iter == 0;
  if (step % plan_.accum_iter == 0) {
    position_.lr = task_.LearningRate(static_cast<double>(step) / plan_.steps_per_epoch + position_.epoch);
  }
  const bool whole = std::exchange(state_is_whole_, state_is_whole_ && !task_.micro_steps_change_state());
  absl::StatusOr<at::Tensor> losses = task_.MicroStep(place);
  if (!losses.ok()) {
    // Tasks whose micro-steps change the state report errors of their pictures alone, before anything is changed; what
    // goes wrong later is thrown.
    state_is_whole_ = whole;
    return losses.status();
  }
  agreement_.Add(*std::move(losses));
  ++position_.next_micro_step;
  clock_.CountStep();
  if (place.ends_update) TEC_RETURN_IF_ERROR(FinishUpdate());
  clock_.EndStep();
  report_.ShowProgress(position_);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::vector<double>>> TrainingLoop::CollectLosses() {
  UpdateAgreement::Flags mine;
  const int save_requests = context_.save_requests();
  mine.stop = context_.stop_requested();
  // When a save is due is the first rank's to say: the clocks of the others may be otherwise.
  mine.save = save_requests > save_requests_ || (context_.first_rank() && SaveIsDue());
  mine.error = !own_error_.ok();
  mine.bad_images = bad_images_ && bad_images_->news();
  TEC_ASSIGN_OR_RETURN(UpdateAgreement::Agreed agreed, agreement_.Agree(mine));
  save_requests_ = save_requests;
  if (agreed.any.error) TEC_RETURN_IF_ERROR(context_.group().Agree(own_error_));
  if (agreed.any.stop && !stop_) TEC_RETURN_IF_ERROR(SayWhoStops(mine.stop));
  save_ = save_ || agreed.any.save;
  if (agreed.any.bad_images) TEC_RETURN_IF_ERROR(bad_images_->Share());
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
  state_is_whole_ = false;
  all_know_ = true;
  return absl::AbortedError(absl::StrFormat(
      "update %d: %s; lr %g. Stopped without saving; the newest checkpoint, from before, is %s. A lower --blr, "
      "--precision=float32 or --clip_grad may help",
      position_.updates + 1, what, position_.lr, saver_->WaitForNewest()));
}

absl::Status TrainingLoop::FinishUpdate() {
  TEC_ASSIGN_OR_RETURN(const auto losses, CollectLosses());
  const bool whole = std::exchange(state_is_whole_, false);
  const absl::StatusOr<UpdateResult> updated = task_.Update(position_.lr);
  if (!updated.ok()) {
    state_is_whole_ = whole;
    return updated.status();
  }
  const UpdateResult& update = *updated;
  if (update.skipped && !update.loss_scale) {
    return NonFinite(absl::StrFormat("the gradient's norm is %g at epoch %d, micro-step %d of %d",
                                     update.grad_norm.value_or(NAN), position_.epoch, position_.next_micro_step - 1,
                                     plan_.steps_per_epoch));
  }
  ++position_.updates;
  whole_ = position_;
  state_is_whole_ = true;
  if (options_.stop_after_update && options_.stop_after_update(position_.updates)) stop_ = true;
  TEC_RETURN_IF_ERROR(Keep(report_.LogUpdate(position_, losses, update)));
  clock_.Start(RunClock::kUpdate);
  const bool save = std::exchange(save_, false);
  const int64_t check_every = context_.check_every();
  if (save || (check_every > 0 && position_.updates % check_every == 0)) TEC_RETURN_IF_ERROR(CheckRanks());
  if (!save || !context_.first_rank()) return absl::OkStatus();
  const ProcessGroup::Work work(context_.group(), "saving");
  return Keep(SaveWhole());
}

absl::Status TrainingLoop::FinishEpoch() {
  const RunClock::Span span = clock_.Since(RunClock::kEpoch);
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
    TEC_RETURN_IF_ERROR(context_.group().Agree(own_error_.ok() ? task_.FinishEpoch(position_, &report) : own_error_));
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
        // this_checkpoint last: a run that dies in between trains the epoch again and writes the other files again.
        const int64_t period = options_.save_period;
        if (period > 0 && (position_.epoch == options_.epochs || finished.epoch % period == 0)) {
          report.names.push_back(CheckpointFolder::NumberedName(finished.epoch));
        }
        report.names.push_back(CheckpointFolder::kThis);
        report.states.push_back({task_.Save(position_), report.names});
        TEC_RETURN_IF_ERROR(Saved(saver_->Save(report.states)));
        whole_ = saved_ = position_;
        return absl::OkStatus();
      },
      "saving");
}

absl::Status TrainingLoop::SaveThis() {
  TEC_RETURN_IF_ERROR(CheckRanks());
  return context_.OnFirstRank([&] { return own_error_.ok() ? SaveWhole() : own_error_; }, "saving");
}

bool TrainingLoop::WholeIsSaved() const {
  return whole_.updates == saved_.updates && whole_.epoch == saved_.epoch &&
         whole_.next_micro_step == saved_.next_micro_step;
}

absl::Status TrainingLoop::Saved(const absl::Status& status) {
  if (!status.ok()) saved_.epoch = -1;
  return status;
}

// What is there already is not written again: it would push the generation before it out.
absl::Status TrainingLoop::SaveWhole() {
  if (WholeIsSaved()) return absl::OkStatus();
  TEC_RETURN_IF_ERROR(report_.Sync());
  saved_ = whole_;
  return Saved(saver_->Save(task_.Save(whole_)));
}

// Data that cannot be read and logs that cannot be written leave the weights as the newest update made them. The other
// ranks may be gone: nothing is agreed on.
absl::Status TrainingLoop::SaveAfter(const absl::Status& failure) {
  if (!context_.first_rank() || !state_is_whole_) return failure;
  if (!report_.Sync().ok()) TEC_LOG(WARNING) << "the logs may lack lines of what the checkpoint says is done";
  // What was begun in the background may have failed for the same reason; the failure counts, which a disk that is full
  // may be, too.
  absl::Status saved = Saved(saver_->Wait());
  if (!WholeIsSaved()) {
    if (!saved.ok()) TEC_LOG(WARNING) << saved.message();
    saved = saver_->SaveHere(task_.Save(whole_));
    if (saved.ok()) saved_ = whole_;
  }
  if (!saved.ok()) TEC_LOG(WARNING) << saved.message();
  if (!saved.ok() || saver_->newest().empty()) return failure;
  return absl::Status(failure.code(), absl::StrCat(failure.message(), ". The state after update ", whole_.updates,
                                                   " is saved in ", saver_->newest()));
}

}  // namespace tec
