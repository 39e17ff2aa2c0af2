// Batches of pixels, made ahead by threads, delivered in order.
//
//   auto dataset = OpenDataset(path, Split::kTrain);                      // std::unique_ptr<Dataset>
//   auto transform = std::make_shared<TrainTransform>(TrainTransform::Options{});
//   LoaderOptions options;
//   options.batch_size = 64;
//   TEC_ASSIGN_OR_RETURN(auto loader, Loader::Create(std::move(dataset), transform, options));
//   loader->StartEpoch(epoch);
//   while (true) {
//     TEC_ASSIGN_OR_RETURN(const Batch* batch, loader->Next());
//     if (batch == nullptr) break;   // End of the epoch.
//     ...                            // batch->pixels is good until the next call.
//   }
//
// The batches are a function of (data set, transform, seed, epoch, world size, rank): the number of threads and the
// time they take change nothing, and neither does where in the epoch the loader starts.

#ifndef TEC_DATA_LOADER_LOADER_H_
#define TEC_DATA_LOADER_LOADER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/dataset/dataset.h"
#include "data/loader/sampler.h"
#include "data/loader/transform.h"

namespace tec {

struct LoaderOptions {
  // As in SamplerOptions.
  int64_t batch_size = 1;
  int64_t world_size = 1;
  int64_t rank = 0;
  bool training = true;
  uint64_t seed = 0;  // Of the order and of the transform.
  SampleOrder order = SampleOrder::kOwn;

  int threads = 1;           // At least 1. All work is done by these; Next() only waits.
  int prefetch_batches = 2;  // Finished or unfinished batches held beside the one in use. At least 1.

  // The epoch ends with an error as soon as more than max_bad_fraction * dataset.size() different images have turned
  // out unreadable since the loader was made; at exactly that many it goes on. In [0, 1]. So with the default one
  // unreadable image is let pass in each full 1000. One is also let pass in a smaller data set, unless this is 0.
  double max_bad_fraction = 0.001;

  // A text file to which each unreadable image is added when it counts: its name, a tab, the reason, the name as
  // EscapedField (tec/base/printable.h) writes it, so that every name has a line of its own. Lines of earlier runs
  // stay, an image that is in it already is not added again, and several ranks may share it. Images of the data set
  // that it lists are tried when the loader is made, and those still unreadable count from the start: a run that goes
  // on has no second allowance. Empty: none.
  std::string bad_images_path;

  // Where the pixels of the batches come to lie: called once for each of prefetch_batches + 1 batches when the loader
  // is made; the memory is written in place and used again till the loader's end. It may throw. Empty: ordinary memory.
  // For a CUDA device, page-locked memory (batch_images.h).
  std::function<std::shared_ptr<uint8_t>(size_t bytes)> allocate;

  // Told of the pixels of each batch when its memory is given back, before a thread may write there. For tests, which
  // spoil them.
  std::function<void(absl::Span<uint8_t> pixels)> released;
};

// N = count images; size and channels = the transform's. Valid until the next call of Next() or StartEpoch(), which may
// be held up (HoldUntil).
struct Batch {
  int64_t number = 0;  // In the epoch, from 0.
  int64_t count = 0;   // N; batch_size but for the last batch of an evaluation.
  int size = 0;        // Pixels a side.
  int channels = 3;
  absl::Span<uint8_t> pixels;    // uint8 [N, size, size, channels]; neither normalised nor converted.
  std::vector<int64_t> indices;  // [N] data set index that the sampler chose: the key of everything random about it.
  std::vector<int64_t> sources;  // [N] data set index whose pixels these are: differs from indices for a replacement.
  std::vector<int32_t> labels;   // [N] of sources; -1 without labels.
};

// One unreadable image.
struct BadImage {
  int64_t index = 0;
  std::string name;
  absl::Status reason;
};

class Loader {
 public:
  // InvalidArgument if a field of `options` is out of range or the batch is larger than the data set.
  static absl::StatusOr<std::unique_ptr<Loader>> Create(std::shared_ptr<const Dataset> dataset,
                                                        std::shared_ptr<const Transform> transform,
                                                        const LoaderOptions& options);
  // Stops the threads, at any time.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const Dataset& dataset() const;
  const LoaderOptions& options() const;
  int64_t batches_per_epoch() const;

  // Starts to make the batches of `epoch` from number `first_batch` on, 0 <= first_batch <= batches_per_epoch(). Gives
  // up what is left of the epoch before.
  void StartEpoch(int64_t epoch, int64_t first_batch = 0);

  // The next batch, or nullptr after the last one of the epoch.
  //
  // An image that cannot be read or decoded is replaced by the next one of the data set (index + 1, + 2, ..., modulo
  // its size) that can, under the random key of the image it replaces; it is logged, once, and counted. DataLoss when
  // more images are bad than max_bad_fraction allows, with their names and reasons; every later call returns the same.
  // Bad images count when the batch that met them is delivered, so this happens at the same batch with any number of
  // threads.
  absl::StatusOr<const Batch*> Next();

  // For whom the batch that Next() delivered last is still being read, as a device does that copies it by itself: its
  // memory is given back, by whatever call, only after `read` has returned, which is then called once.
  void HoldUntil(std::function<void()> read);

  // Different images found unreadable in the batches delivered so far (by this rank), listed by earlier runs or told by
  // other ranks, by index; and how many they are.
  std::vector<BadImage> bad_images() const;
  int64_t bad_count() const;

  // Counts images that other ranks found unreadable as if this one had met them, so that one ceiling holds for all:
  // call it with the same list at the same batch on every rank. Indices of the data set.
  void CountBadOfOthers(const std::vector<int64_t>& indices);

  // Time that Next() has spent waiting for a batch since the loader was made.
  double wait_seconds() const;

 private:
  class Implementation;
  explicit Loader(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace tec

#endif  // TEC_DATA_LOADER_LOADER_H_
