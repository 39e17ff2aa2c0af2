// Any bytes as an archive of a data set, a tar or with TEC_FUZZ_ZIP (BUILD) a zip: grouping into samples, labels of
// .cls and .json and of names, links, archives inside, reading what was found. It warns of each broken archive:
// GLOG_minloglevel=2 in the environment keeps it quiet.

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "data/dataset/dataset.h"

namespace {

#ifdef TEC_FUZZ_ZIP
constexpr char kName[] = "s.zip";
// What is deflated may be so much longer than the archive.
constexpr size_t kMostSaved = 1100;
#else
constexpr char kName[] = "s.tar";
#endif

// A file of that name, in a folder of this process's own; both go with it.
class Shard {
 public:
  Shard() {
    folder_ = std::filesystem::temp_directory_path() / ("shard_fuzz_" + std::to_string(getpid()));
    path_ = folder_ / kName;
    std::filesystem::create_directories(folder_);
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT, 0600);
    if (fd_ < 0) std::abort();
  }
  ~Shard() { std::filesystem::remove_all(folder_); }
  void Set(const uint8_t* data, size_t size) {
    if (ftruncate(fd_, 0) != 0 || pwrite(fd_, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  }
  const std::string& path() const { return path_.native(); }

 private:
  std::filesystem::path folder_, path_;
  int fd_ = -1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Shard shard;
  shard.Set(data, size);
  const auto dataset = tec::OpenDataset(shard.path(), tec::Split::kWhole);
  if (!dataset.ok()) return 0;
  const auto classes = static_cast<int32_t>((*dataset)->classes().size());
  if ((*dataset)->size() < 1) std::abort();
  std::string bytes;
  for (int64_t i = 0; i < (*dataset)->size(); ++i) {
    const int32_t label = (*dataset)->label(i);
    if (classes == 0 ? label != -1 : label < 0 || label >= classes) std::abort();
    if ((*dataset)->name(i).empty()) std::abort();
#ifdef TEC_FUZZ_ZIP
    if ((*dataset)->Read(i, &bytes).ok() && bytes.size() > kMostSaved * size) std::abort();
#else
    // What was found lies within the shard.
    if (!(*dataset)->Read(i, &bytes).ok() || bytes.size() > size) std::abort();
#endif
  }
  return 0;
}
