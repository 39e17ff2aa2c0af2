// Threads take one image at a time, in the order of the epoch, so that all of them work on the batch that is needed
// next. A ring of batches bounds the memory: prefetch_batches and the one in the caller's hands.

#include "data/loader/loader.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/dataset/patient_read.h"
#include "data/loader/bad_image_limit.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// condition_variable::wait() is a symbol of GCC 12's libstdc++: a program that waits so runs on no older system.
// Waiting until a time is in the header. (absl::CondVar would do too, but the thread sanitizer does not see what it
// orders.)
template <typename Predicate>
void WaitFor(std::condition_variable* changed, std::unique_lock<std::mutex>* lock, const Predicate& predicate) {
  while (!changed->wait_for(*lock, std::chrono::hours(1), predicate)) {
  }
}

}  // namespace

class Loader::Implementation {
 public:
  Implementation(std::shared_ptr<const Dataset> dataset, std::shared_ptr<const Transform> transform,
                 const LoaderOptions& options, Sampler sampler)
      : dataset_(std::move(dataset)),
        transform_(std::move(transform)),
        options_(options),
        sampler_(std::move(sampler)),
        image_bytes_(int64_t{transform_->channels()} * transform_->size() * transform_->size()),
        ring_(options.prefetch_batches + 1) {
    bad_allowed_ = BadImagesAllowed(options.max_bad_fraction, dataset_->size());
    CountListed();
    for (Slot& slot : ring_) {
      slot.batch.size = transform_->size();
      slot.batch.channels = transform_->channels();
      const size_t bytes = options.batch_size * image_bytes_;
      slot.memory = options.allocate ? options.allocate(bytes)
                                     : std::shared_ptr<uint8_t>(new uint8_t[bytes], std::default_delete<uint8_t[]>());
    }
    threads_.reserve(options.threads);
    try {
      for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { WorkOrFail(); });
    } catch (...) {
      Stop();
      throw;
    }
  }

  ~Implementation() {
    try {
      GiveBack();
    } catch (const std::exception&) {  // Whoever was to read is lost.
    }
    Stop();
  }

  void HoldUntil(std::function<void()> read) {
    TEC_CHECK(in_hands_ != nullptr && !read_) << "of a batch that has been delivered, once";
    read_ = std::move(read);
  }

  void StartEpoch(int64_t epoch, int64_t first_batch) {
    GiveBack();
    TEC_CHECK(first_batch >= 0 && first_batch <= sampler_.batches_per_epoch())
        << first_batch << " of " << sampler_.batches_per_epoch();
    std::unique_lock<std::mutex> lock(mutex_);
    end_ = next_batch_;  // No new batch is opened ...
    next_image_ = open_images_;
    // ... and nobody writes into an old one any more.
    WaitFor(&idle_, &lock, [this] { return busy_ == 0 || !failure_.ok(); });
    if (!failure_.ok()) return;  // Which Next() tells.
    sampler_.SetEpoch(epoch);
    started_ = true;
    fault_ = absl::OkStatus();
    next_batch_ = delivered_ = released_ = first_batch;
    next_image_ = open_images_ = 0;
    end_ = sampler_.batches_per_epoch();
    work_.notify_all();
  }

  absl::StatusOr<const Batch*> Next() {
    GiveBack();
    std::unique_lock<std::mutex> lock(mutex_);
    TEC_CHECK(started_) << "StartEpoch comes first";
    if (!failure_.ok()) return failure_;
    released_ = delivered_;
    work_.notify_all();
    if (delivered_ == sampler_.batches_per_epoch()) return static_cast<const Batch*>(nullptr);
    Slot& slot = ring_[delivered_ % ring_.size()];
    const auto start = std::chrono::steady_clock::now();
    WaitFor(&done_, &lock, [&] { return !failure_.ok() || (next_batch_ > delivered_ && slot.missing == 0); });
    if (!failure_.ok()) return failure_;
    wait_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!slot.fault.ok()) {
      failure_ = slot.fault;
      return failure_;
    }
    CountBad(&slot);
    if (static_cast<int64_t>(bad_.size()) > bad_allowed_ || slot.hopeless) {
      failure_ = TooManyBad();
      return failure_;
    }
    ++delivered_;
    in_hands_ = &slot.batch;
    return &slot.batch;
  }

  const Dataset& dataset() const { return *dataset_; }
  const LoaderOptions& options() const { return options_; }
  int64_t batches_per_epoch() const { return sampler_.batches_per_epoch(); }

  std::vector<BadImage> bad_images() const {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<BadImage> images;
    for (const auto& [index, reason] : bad_) images.push_back({index, dataset_->name(index), reason});
    return images;
  }

  int64_t bad_count() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<int64_t>(bad_.size());
  }

  void CountBadOfOthers(const std::vector<int64_t>& indices) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const int64_t index : indices) {
      TEC_CHECK(index >= 0 && index < dataset_->size()) << index << " of " << dataset_->size();
      bad_.emplace(index, absl::DataLossError("unreadable to another process of this run"));
    }
    if (static_cast<int64_t>(bad_.size()) > bad_allowed_) failure_ = TooManyBad();
  }

  double wait_seconds() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return wait_seconds_;
  }

 private:
  // What the caller has, before `released_` says so.
  void GiveBack() {
    if (const std::function<void()> read = std::exchange(read_, nullptr)) read();
    const Batch* const batch = std::exchange(in_hands_, nullptr);
    if (batch != nullptr && options_.released) options_.released(batch->pixels);
  }

  struct Slot {
    Batch batch;
    std::shared_ptr<uint8_t> memory;                    // Of the batch's pixels.
    int64_t missing = 0;                                // Images that are not finished yet.
    std::vector<std::pair<int64_t, absl::Status>> bad;  // Met while making this batch; may repeat.
    bool hopeless = false;                              // For some image no replacement was found.
    absl::Status fault;                                 // Of the system, of one image, that did not pass.
  };

  void Stop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      work_.notify_all();
    }
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // An exception of a thread would end the process.
  void WorkOrFail() {
    absl::Status why;
    try {
      return Work();
    } catch (const std::exception& exception) {  // No memory, even for what an image is noted down in.
      why = absl::ResourceExhaustedError(exception.what());
    }
    std::lock_guard<std::mutex> lock(mutex_);
    failure_.Update(why);
    done_.notify_all();
    idle_.notify_all();
  }

  // A thread's life.
  void Work() {
    TransformScratch scratch;
    std::string encoded;
    std::vector<std::pair<int64_t, absl::Status>> bad;
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      WaitFor(&work_, &lock, [this] { return stopping_ || next_image_ < open_images_ || CanOpen(); });
      if (stopping_) return;
      if (next_image_ == open_images_) {
        Open();
        continue;
      }
      Slot& slot = ring_[(next_batch_ - 1) % ring_.size()];
      const int64_t image = next_image_++;
      const SampleKey key{options_.seed, static_cast<uint64_t>(sampler_.epoch()),
                          static_cast<uint64_t>(slot.batch.indices[image])};
      // After one of the system others would wait for the same in vain, and the epoch is over anyway.
      absl::Status fault = fault_;
      ++busy_;
      lock.unlock();

      bad.clear();
      const int64_t source =
          fault.ok() ? MakeImage(key, &scratch, &encoded, &slot.batch.pixels[image * image_bytes_], &bad, &fault) : -1;
      scratch.GiveBackLarge();
      if (encoded.capacity() > kMostKeptBytes) std::string().swap(encoded);  // An assignment keeps it.

      lock.lock();
      --busy_;
      if (busy_ == 0) idle_.notify_all();
      slot.bad.insert(slot.bad.end(), bad.begin(), bad.end());
      slot.hopeless |= source < 0;
      slot.fault.Update(fault);
      fault_.Update(fault);
      slot.batch.sources[image] = source;
      slot.batch.labels[image] = source < 0 ? -1 : dataset_->label(source);
      if (--slot.missing == 0) done_.notify_all();
    }
  }

  // Whether there is a batch to make and a place in the ring that the caller is done with.
  bool CanOpen() const {
    return started_ && next_batch_ < end_ && next_batch_ < released_ + static_cast<int64_t>(ring_.size());
  }

  void Open() {
    Slot& slot = ring_[next_batch_ % ring_.size()];
    Batch& batch = slot.batch;
    sampler_.Batch(next_batch_, &batch.indices);
    batch.number = next_batch_;
    batch.count = batch.indices.size();
    batch.pixels = absl::MakeSpan(slot.memory.get(), batch.count * image_bytes_);
    batch.sources.resize(batch.count);
    batch.labels.resize(batch.count);
    slot.missing = batch.count;
    slot.bad.clear();
    slot.hopeless = false;
    slot.fault = absl::OkStatus();
    ++next_batch_;
    next_image_ = 0;
    open_images_ = batch.count;
    work_.notify_all();
  }

  // Makes image key.sample or, in its place, the next one that can be read. Returns which it is, or -1 after more
  // failures than are allowed altogether, or after a `*fault` of the system: which picture takes the place must depend
  // on the pictures alone.
  int64_t MakeImage(const SampleKey& key, TransformScratch* scratch, std::string* encoded, uint8_t* out,
                    std::vector<std::pair<int64_t, absl::Status>>* bad, absl::Status* fault) const {
    const int64_t size = dataset_->size();
    const int64_t tries = std::min(size, bad_allowed_ + 1);
    for (int64_t i = 0; i < tries; ++i) {
      const int64_t source = (static_cast<int64_t>(key.sample) + i) % size;
      const absl::Status status = TryImage(source, key, scratch, encoded, out);
      if (status.ok()) return source;
      if (absl::IsUnavailable(status)) {
        *fault = status;
        break;
      }
      bad->emplace_back(source, status);
    }
    std::memset(out, 0, image_bytes_);
    return -1;
  }

  absl::Status TryImage(int64_t source, const SampleKey& key, TransformScratch* scratch, std::string* encoded,
                        uint8_t* out) const {
    try {
      TEC_RETURN_IF_ERROR(ReadPatiently(*dataset_, source, encoded));
      return transform_->Apply(*encoded, key, scratch, out);
    } catch (const std::exception& exception) {  // No memory.
      return absl::ResourceExhaustedError(exception.what());
    }
  }

  void CountBad(Slot* slot) {
    // Threads meet them in any order.
    std::sort(slot->bad.begin(), slot->bad.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [index, reason] : slot->bad) {
      if (!bad_.emplace(index, reason).second) continue;
      TEC_LOG(WARNING) << "unreadable image " << Printable(dataset_->name(index)) << ", replaced: " << reason.message();
      if (!options_.bad_images_path.empty()) AddToList(dataset_->name(index), reason);
    }
    slot->bad.clear();
  }

  // An image that an earlier run listed counts from the start, unless it has been mended. Before the threads start.
  void CountListed() {
    if (options_.bad_images_path.empty()) return;
    ReadList();
    TransformScratch scratch;
    std::string encoded;
    std::vector<uint8_t> out(image_bytes_);
    // Beyond the ceiling their number does not matter.
    for (int64_t i = 0; i < dataset_->size() && static_cast<int64_t>(bad_.size()) <= bad_allowed_; ++i) {
      if (listed_.count(EscapedField(dataset_->name(i))) == 0) continue;
      const SampleKey key{options_.seed, 0, static_cast<uint64_t>(i)};
      const absl::Status status = TryImage(i, key, &scratch, &encoded, out.data());
      if (!status.ok()) bad_.emplace(i, status);
    }
    if (!bad_.empty()) {
      TEC_LOG(WARNING) << bad_.size() << " images listed in " << options_.bad_images_path << " are still unreadable";
    }
  }

  // Or not there yet. A FIFO would hold up whoever opens it.
  bool ListIsRegular() const {
    struct stat info;
    return stat(options_.bad_images_path.c_str(), &info) != 0 || S_ISREG(info.st_mode);
  }

  // Takes in what has been added to the list, by other ranks too, since it was read last.
  void ReadList() {
    if (!ListIsRegular()) return;
    std::ifstream list(options_.bad_images_path, std::ios::binary);
    list.seekg(list_end_);
    for (std::string line; std::getline(list, line) && !list.eof();) {
      list_end_ += static_cast<int64_t>(line.size()) + 1;
      listed_.insert(line.substr(0, line.find('\t')));
    }
  }

  // A list that cannot be written stops nothing.
  void AddToList(const std::string& name, const absl::Status& reason) {
    const std::string field = EscapedField(name);
    ReadList();
    if (listed_.count(field) > 0) return;
    if (!ListIsRegular()) {
      TEC_LOG(WARNING) << "cannot add to " << options_.bad_images_path << ", which is no regular file";
      return;
    }
    std::ofstream list(options_.bad_images_path, std::ios::app);
    // In one piece, which the system keeps together.
    list << absl::StrCat(field, "\t", Printable(reason.message()), "\n");
    list.close();
    if (!list) TEC_LOG(WARNING) << "cannot add to " << options_.bad_images_path;
  }

  absl::Status TooManyBad() const {
    std::vector<std::string> lines;
    for (const auto& [index, reason] : bad_) lines.push_back(BadImageLine(dataset_->name(index), reason));
    return TooManyBadImages(lines, options_.max_bad_fraction, dataset_->size());
  }

  const std::shared_ptr<const Dataset> dataset_;
  const std::shared_ptr<const Transform> transform_;
  const LoaderOptions options_;
  Sampler sampler_;  // Its epoch changes only while no thread is busy.
  const int64_t image_bytes_;
  int64_t bad_allowed_ = 0;
  // The caller's alone.
  const Batch* in_hands_ = nullptr;  // Delivered and not given back yet.
  std::function<void()> read_;       // Waited for before it is.

  mutable std::mutex mutex_;  // Guards all below; a slot's pixels of one image belong to the thread that makes it.
  std::condition_variable work_, done_, idle_;
  std::vector<Slot> ring_;  // Batch b is made in ring_[b % its size].
  bool started_ = false, stopping_ = false;
  int64_t end_ = 0;          // Batches of this epoch.
  int64_t next_batch_ = 0;   // To be opened.
  int64_t next_image_ = 0;   // Of the batch opened last, to be made.
  int64_t open_images_ = 0;  // Of that batch, altogether.
  int64_t delivered_ = 0;    // Batches before this one have been delivered ...
  int64_t released_ = 0;     // ... and before this one, given back.
  int busy_ = 0;             // Threads that are making an image.
  std::map<int64_t, absl::Status> bad_;
  std::set<std::string> listed_;  // Names of the list, up to its byte list_end_.
  int64_t list_end_ = 0;
  absl::Status fault_;  // Of the system, met in this epoch.
  absl::Status failure_;
  double wait_seconds_ = 0;
  std::vector<std::thread> threads_;
};

absl::StatusOr<std::unique_ptr<Loader>> Loader::Create(std::shared_ptr<const Dataset> dataset,
                                                       std::shared_ptr<const Transform> transform,
                                                       const LoaderOptions& options) {
  TEC_CHECK(dataset != nullptr && transform != nullptr);
  constexpr int kMostThreads = 1024, kMostBatches = 1024;
  if (options.threads < 1 || options.threads > kMostThreads) {
    return absl::InvalidArgumentError(
        absl::StrCat("number of loader threads ", options.threads, " is not in 1 to ", kMostThreads));
  }
  if (options.prefetch_batches < 1 || options.prefetch_batches > kMostBatches) {
    return absl::InvalidArgumentError(
        absl::StrCat("number of prefetched batches ", options.prefetch_batches, " is not in 1 to ", kMostBatches));
  }
  if (!(options.max_bad_fraction >= 0 && options.max_bad_fraction <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("max_bad_fraction ", options.max_bad_fraction, " is not in 0 to 1"));
  }
  SamplerOptions sampler_options;
  sampler_options.dataset_size = dataset->size();
  sampler_options.batch_size = options.batch_size;
  sampler_options.world_size = options.world_size;
  sampler_options.rank = options.rank;
  sampler_options.training = options.training;
  sampler_options.seed = options.seed;
  sampler_options.order = options.order;
  TEC_ASSIGN_OR_RETURN(Sampler sampler, Sampler::Create(sampler_options));
  try {
    return std::unique_ptr<Loader>(new Loader(
        std::make_unique<Implementation>(std::move(dataset), std::move(transform), options, std::move(sampler))));
  } catch (const std::exception& exception) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory or threads for a loader of ",
                                                     options.prefetch_batches + 1, " batches of ", options.batch_size,
                                                     " images and ", options.threads, " threads: ", exception.what()));
  }
}

Loader::Loader(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Loader::~Loader() = default;
const Dataset& Loader::dataset() const { return implementation_->dataset(); }
const LoaderOptions& Loader::options() const { return implementation_->options(); }
int64_t Loader::batches_per_epoch() const { return implementation_->batches_per_epoch(); }
void Loader::StartEpoch(int64_t epoch, int64_t first_batch) { implementation_->StartEpoch(epoch, first_batch); }
absl::StatusOr<const Batch*> Loader::Next() { return implementation_->Next(); }
void Loader::HoldUntil(std::function<void()> read) { implementation_->HoldUntil(std::move(read)); }
std::vector<BadImage> Loader::bad_images() const { return implementation_->bad_images(); }
int64_t Loader::bad_count() const { return implementation_->bad_count(); }
void Loader::CountBadOfOthers(const std::vector<int64_t>& indices) { implementation_->CountBadOfOthers(indices); }
double Loader::wait_seconds() const { return implementation_->wait_seconds(); }

}  // namespace tec
