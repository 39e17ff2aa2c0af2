// One count and one ceiling of unreadable images for all ranks, each of which reads a part of the data set.
//
//   SharedBadImages bad(*loader, *group);
//   // Ranks meet only if there is news, which a number beside the losses tells them:
//   if (any rank has bad.news()) TEC_RETURN_IF_ERROR(bad.Share());

#ifndef TEC_RUN_SHARED_BAD_IMAGES_H_
#define TEC_RUN_SHARED_BAD_IMAGES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "data/loader/loader.h"
#include "tec/dist/process_group.h"

namespace tec {

class SharedBadImages {
 public:
  // Both outlive it.
  SharedBadImages(Loader& loader, ProcessGroup& group) : loader_(loader), group_(group) {}

  // Whether this rank has met an unreadable image since the last Share().
  bool news() const { return loader_.bad_count() > shared_; }

  // Tells each rank's loader what the others met, so that its bad_count() is that of all. On every rank at the same
  // batch. Errors are the group's; a loader beyond its ceiling says so at its next batch.
  absl::Status Share();

 private:
  Loader& loader_;
  ProcessGroup& group_;
  int64_t shared_ = 0;
};

}  // namespace tec

#endif  // TEC_RUN_SHARED_BAD_IMAGES_H_
