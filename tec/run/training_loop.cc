#include "tec/run/training_loop.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/memory_reserve.h"
#include "tec/base/status.h"
#include "tec/config/advice.h"
#include "tec/dist/replicas.h"
#include "tec/run/device_moment.h"
#include "tec/run/finished_run.h"
#include "tec/run/rank_alignment.h"
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
  TEC_RETURN_IF_ERROR(AlignRanks(context_, task_, plan_));
  TEC_RETURN_IF_ERROR(CheckRanks());
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
  absl::Status trained = CatchTorch([&]() -> absl::Status {
    // What is trained without it may be lost.
    if (!reserve.held())
      return absl::ResourceExhaustedError(
          "not enough memory: the system does not give the 64 MiB of addresses that the last save may need; raise "
          "its limit (ulimit -v, the batch system's)");
    return Train();
  });
  if (!trained.ok()) {
    reserve.Release();
    // What failed came after an update that has not been read yet, and whose own failure would be the first.
    const absl::Status confirmed = CatchTorch([&] { return unread_ ? Confirm(*unread_) : absl::OkStatus(); });
    if (absl::IsAborted(confirmed)) trained = confirmed;
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
      TEC_RETURN_IF_ERROR(Settle());
      // An update that is begun is done again, from its start.
      agreement_.Clear();
      position_ = keeper_.whole();
      return absl::OkStatus();
    }
  }
  TEC_RETURN_IF_ERROR(Settle());
  // Left-over micro-steps.
  UnreadUpdate left = BeginReading();
  TEC_RETURN_IF_ERROR(ReceiveLosses(left));
  TEC_RETURN_IF_ERROR(ObeyRanks(*left.agreed));
  keeper_.MarkWhole(position_);
  return absl::OkStatus();
}

// An update of many micro-steps is not waited for. On a GPU the ranks ask one another at its end only: they would wait
// for the device, which micro-steps do not.
absl::Status TrainingLoop::LearnOfStop() {
  if (stop_ || !keeper_.is_whole() || (context_.group().world_size() > 1 && !context_.device().is_cpu())) {
    return absl::OkStatus();
  }
  TEC_ASSIGN_OR_RETURN(stop_, agreement_.AnyStops(context_.stop_requested()));
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
  TEC_RETURN_IF_ERROR(Settle());
  if (place.ends_update) TEC_RETURN_IF_ERROR(FinishUpdate());
  report_.clock().EndStep();
  report_.ShowProgress(position_);
  return absl::OkStatus();
}

absl::Status TrainingLoop::ReceiveLosses(UnreadUpdate& update) {
  TEC_ASSIGN_OR_RETURN(UpdateAgreement::Agreed agreed, agreement_.Receive());
  const std::string wrong = update.TakeLosses(std::move(agreed), task_.loss_names(), plan_);
  if (!wrong.empty()) return NonFinite(update.position, wrong);
  position_.losses = update.position.losses;
  position_.lrs = update.position.lrs;
  return absl::OkStatus();
}

absl::Status TrainingLoop::ObeyRanks(const UpdateAgreement::Agreed& agreed) {
  if (agreed.any.error) TEC_RETURN_IF_ERROR(context_.group().Agree(failure_.own));
  if (agreed.any.bad_images) TEC_RETURN_IF_ERROR(agreement_.ShareBadImages());
  if (!agreed.any.stop || stop_) return absl::OkStatus();
  TEC_ASSIGN_OR_RETURN(stop_, agreement_.AnyStops(agreed.mine.stop));
  return absl::OkStatus();
}

// The sums over ranks are not finite on any rank if they are not on one, so that all ranks come here together.
absl::Status TrainingLoop::NonFinite(const RunPosition& update, const std::string& what) {
  keeper_.MarkChanging();
  failure_.all_know = true;
  return absl::AbortedError(absl::StrFormat(
      "update %d: %s; lr %g. Stopped without saving; the newest checkpoint, from before, is %s. A lower --blr, "
      "--precision=float32 or --clip_grad may help",
      update.updates, what, update.lr, keeper_.saver().WaitForNewest()));
}

// Micro-steps that change the state would do so before it is known whether it may be saved.
bool TrainingLoop::ReadsLate() const {
  return options_.read_late.value_or(!context_.device().is_cpu()) && !task_.micro_steps_change_state();
}

absl::Status TrainingLoop::FinishUpdate() {
  UnreadUpdate update = BeginReading();
  // Other ranks are waited for in any case, when the gradients are averaged; and if one of them is gone later, what was
  // agreed on with it before can still be saved.
  if (!ReadsLate() || context_.group().world_size() > 1) {
    TEC_RETURN_IF_ERROR(ReceiveLosses(update));
    TEC_RETURN_IF_ERROR(ObeyRanks(*update.agreed));
  }
  const bool whole = keeper_.MarkChanging();
  absl::StatusOr<UpdateResult> updated = task_.Update(position_.lr);
  if (!updated.ok()) {
    keeper_.MarkUnchanged(whole);
    return updated.status();
  }
  update.result = *std::move(updated);
  update.queued.emplace(context_.device());
  update.span = report_.clock().Since(RunClock::kUpdate);
  update.bad_images = task_.loader() == nullptr ? 0 : task_.loader()->bad_count();
  report_.clock().Start(RunClock::kUpdate);
  position_.updates = update.position.updates;
  unread_ = std::move(update);
  if (options_.stop_after_update && options_.stop_after_update(position_.updates)) stop_ = true;
  // Alone, a rank can obey at once.
  const bool stops = stop_ || (context_.group().world_size() == 1 && context_.stop_requested());
  return ReadsLate() && !stops ? absl::OkStatus() : Settle();
}

UnreadUpdate TrainingLoop::BeginReading() {
  // When a save is due is the first rank's to say: the clocks of the others may be otherwise.
  agreement_.Send(context_.first_rank() && SaveIsDue(), !failure_.own.ok());
  UnreadUpdate update;
  update.position = position_;
  ++update.position.updates;
  return update;
}

absl::Status TrainingLoop::Confirm(UnreadUpdate& update) {
  std::string wrong;
  {
    const AfterMoment reading(*update.queued);
    if (!update.agreed) TEC_RETURN_IF_ERROR(ReceiveLosses(update));
    wrong = update.TakeResult(plan_);
  }
  if (!wrong.empty()) return NonFinite(update.position, wrong);
  keeper_.MarkWhole(update.position);
  return Keep(report_.LogUpdate(update));
}

absl::Status TrainingLoop::Settle() {
  if (!unread_) return absl::OkStatus();
  UnreadUpdate update = *std::exchange(unread_, std::nullopt);
  const bool obeyed = update.agreed.has_value();
  TEC_RETURN_IF_ERROR(Confirm(update));
  if (!obeyed) TEC_RETURN_IF_ERROR(ObeyRanks(*update.agreed));
  const bool save = agreement_.TakeSave();
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
