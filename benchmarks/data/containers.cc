// The same pictures as files of a folder, in zips, a tar and a packed file: what each costs the input pipeline.
//
//   ./bazelw run //benchmarks/data:photographs -- --folder=/tmp/p --count=480
//   ./bazelw run //benchmarks/data:containers -- --folder=/tmp/p/photographs --rounds=7
//
// One thread reads, decodes and crops an epoch of each in turns, whatever else the machine is doing; processor time
// counts. A line each: the median of images a second, of the time against that of the folder in the same round, and of
// that the least and the most.

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_format.h"
#include "data/dataset/dataset.h"
#include "data/dataset/pack.h"
#include "data/loader/loader.h"
#include "data/loader/transform.h"
#include "data/testing/make_tar.h"
#include "data/testing/make_zip.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"

ABSL_FLAG(std::string, folder, "", "Pictures: what --data_path of the training accepts.");
ABSL_FLAG(std::string, work_folder, "/tmp", "Where the archives are made, which are removed at the end.");
ABSL_FLAG(int64_t, most, 480, "Pictures at most, the first ones; they are held in memory while archives are made.");
ABSL_FLAG(int, rounds, 7, "After one that does not count.");

namespace tec {
namespace {

double CpuSeconds() {
  rusage usage;
  TEC_CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  const auto seconds = [](const timeval& t) { return t.tv_sec + 1e-6 * t.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Container {
  const char* what;
  std::shared_ptr<const Dataset> dataset;
  std::vector<double> seconds, ratios;
};

// The pictures of --folder in every form, below `work`.
std::vector<Container> MakeContainers(const std::string& work) {
  DatasetOptions options;
  options.labels = false;
  const auto source = OpenDataset(UserPath(absl::GetFlag(FLAGS_folder)), Split::kTrain, options);
  TEC_CHECK_OK(source);
  testing::ZipMaker stored, deflated;
  testing::ZipMaker::Options deflate;
  deflate.deflate = true;
  testing::TarMaker tar;
  TEC_CHECK_OK(MakeDirectories(work + "/folder"));
  for (int64_t i = 0; i < std::min((*source)->size(), absl::GetFlag(FLAGS_most)); ++i) {
    const auto bytes = (*source)->Read(i);
    TEC_CHECK_OK(bytes);
    const std::string name = absl::StrFormat("%08d.jpg", i);  // Its first bytes say what it is.
    TEC_CHECK_OK(WriteFile(absl::StrFormat("%s/folder/%s", work, name), *bytes));
    stored.Add(name, *bytes);
    deflated.Add(name, *bytes, deflate);
    tar.AddFile(name, *bytes);
  }
  TEC_CHECK_OK(WriteFile(work + "/stored.zip", stored.Finish()));
  TEC_CHECK_OK(WriteFile(work + "/deflated.zip", deflated.Finish()));
  TEC_CHECK_OK(WriteFile(work + "/a.tar", tar.Finish()));
  std::vector<Container> containers;
  const std::pair<const char*, const char*> kinds[] = {{"folder", "/folder"},
                                                       {"zip, stored", "/stored.zip"},
                                                       {"zip, deflated", "/deflated.zip"},
                                                       {"tar", "/a.tar"},
                                                       {"packed file", "/a.tecpack"}};
  for (const auto& [what, name] : kinds) {
    if (!containers.empty() && std::string(name) == "/a.tecpack") {
      TEC_CHECK_OK(WritePack(*containers.front().dataset, work + name));
    }
    auto dataset = OpenDataset(work + name, Split::kWhole, options);
    TEC_CHECK_OK(dataset);
    containers.push_back({what, *std::move(dataset), {}, {}});
  }
  return containers;
}

// Processor time of an epoch.
double EpochSeconds(const std::shared_ptr<const Dataset>& dataset) {
  LoaderOptions options;
  options.batch_size = std::min<int64_t>(32, dataset->size());
  auto loader = Loader::Create(dataset, std::make_shared<TrainTransform>(TrainTransform::Options{}), options);
  TEC_CHECK_OK(loader);
  const double start = CpuSeconds();
  (*loader)->StartEpoch(0);
  while (true) {
    const absl::StatusOr<const Batch*> batch = (*loader)->Next();
    TEC_CHECK_OK(batch);
    if (*batch == nullptr) return CpuSeconds() - start;
  }
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

int Main() {
  TEC_CHECK(absl::GetFlag(FLAGS_rounds) >= 1) << "--rounds=" << absl::GetFlag(FLAGS_rounds) << ": at least 1";
  std::string work = UserPath(absl::GetFlag(FLAGS_work_folder)) + "/containersXXXXXX";
  TEC_CHECK(mkdtemp(work.data()) != nullptr) << work;
  std::vector<Container> containers = MakeContainers(work);
  for (int round = -1; round < absl::GetFlag(FLAGS_rounds); ++round) {
    double of_folder = 0;
    for (Container& container : containers) {
      const double seconds = EpochSeconds(container.dataset);
      if (&container == &containers.front()) of_folder = seconds;
      if (round < 0) continue;
      container.seconds.push_back(seconds);
      container.ratios.push_back(seconds / of_folder);
    }
  }
  const double images = static_cast<double>(containers.front().dataset->size());
  for (const Container& container : containers) {
    absl::PrintF("%-14s %8.1f images/s   time %.3f of the folder's (%.3f to %.3f)\n", container.what,
                 images / Median(container.seconds), Median(container.ratios),
                 *std::min_element(container.ratios.begin(), container.ratios.end()),
                 *std::max_element(container.ratios.begin(), container.ratios.end()));
  }
  std::filesystem::remove_all(work);
  return 0;
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  tec::InitLogging(argv[0]);
  absl::ParseCommandLine(argc, argv);
  return tec::Main();
}
