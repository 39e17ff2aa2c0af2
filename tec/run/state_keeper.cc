#include "tec/run/state_keeper.h"

#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/run/finished_run.h"

namespace tec {

absl::Status StateKeeper::Open() {
  if (context_.first_rank()) {
    TEC_ASSIGN_OR_RETURN(lock_, FolderLock::Take(options_.output_dir));
    // Not before: another process may be at work there.
    if (options_.overwrite) TEC_RETURN_IF_ERROR(RemoveRun(options_.output_dir));
  }
  TEC_ASSIGN_OR_RETURN(saver_, RunSaver::Open(options_.output_dir, options_.retention));
  return absl::OkStatus();
}

void StateKeeper::MarkWhole(const RunPosition& position) {
  whole_ = position;
  is_whole_ = true;
}

bool StateKeeper::WholeIsSaved() const {
  return whole_.updates == saved_.updates && whole_.epoch == saved_.epoch &&
         whole_.next_micro_step == saved_.next_micro_step;
}

absl::Status StateKeeper::Saved(const absl::Status& status) {
  if (!status.ok()) saved_.epoch = -1;
  return status;
}

absl::Status StateKeeper::SaveWhole() {
  if (WholeIsSaved()) return absl::OkStatus();
  TEC_RETURN_IF_ERROR(report_.Sync());
  saved_ = whole_;
  return Saved(saver_->Save(task_.Save(whole_)));
}

absl::Status StateKeeper::SaveEpoch(EpochReport report, const RunPosition& position) {
  // this_checkpoint last: a run that dies in between trains the epoch again and writes the other files again.
  const int64_t period = options_.save_period, finished = position.epoch - 1;
  if (period > 0 && (position.epoch == options_.epochs || finished % period == 0)) {
    report.names.push_back(CheckpointFolder::NumberedName(finished));
  }
  report.names.push_back(CheckpointFolder::kThis);
  report.states.push_back({task_.Save(position), report.names});
  TEC_RETURN_IF_ERROR(Saved(saver_->Save(report.states)));
  whole_ = saved_ = position;
  return absl::OkStatus();
}

absl::Status StateKeeper::SaveAfter(const absl::Status& failure) {
  if (!context_.first_rank() || !is_whole_) return failure;
  if (!report_.Sync().ok()) TEC_LOG(WARNING) << "the logs may lack lines of what the checkpoint says is done";
  // What was begun in the background may have failed for the same reason; the failure counts, which a disk that is full
  // may be, too.
  absl::Status saved = Wait();
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
