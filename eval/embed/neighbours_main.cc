// //tools:neighbours: the pictures nearest to one, and near-duplicates, by vectors of //tools:embed.
//
//   ./bazelw run //tools:neighbours -- photos.npy --query=holiday/17.jpg
//   ./bazelw run //tools:neighbours -- photos.npy --duplicates=0.98 --data_path=/photos --output=duplicates.html
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running.

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/dataset/dataset.h"
#include "data/image/encode.h"
#include "eval/embed/embedding_file.h"
#include "eval/embed/near_duplicates.h"
#include "eval/features/features.h"
#include "eval/knn/knn_classifier.h"
#include "eval/report/html.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/flag_parser.h"
#include "tec/run/torch_runtime.h"

ABSL_FLAG(std::string, query, "", "A picture's name in the file, or its row's number: its nearest are wanted.");
ABSL_FLAG(int64_t, k, 10, "So many of them.");
ABSL_FLAG(double, duplicates, 0, "Print all pairs of pictures whose cosine is at least this; 0: none.");
ABSL_FLAG(int64_t, most_pairs, 1000, "At most so many pairs are printed and shown.");
ABSL_FLAG(std::string, output, "", "An HTML page of thumbnails; needs --data_path.");
ABSL_FLAG(std::string, data_path, "", "The data set that the vectors are of, for the page.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Search among the vectors that //tools:embed wrote. Every pair is compared: the answer is exact.\n\n"
    "  ./bazelw run //tools:neighbours -- photos.npy --query=holiday/17.jpg\n"
    "  ./bazelw run //tools:neighbours -- photos.npy --duplicates=0.98 --data_path=/photos "
    "--output=duplicates.html\n\n";

constexpr char kQuery[] = "the query";
constexpr int kThumbnail = 96;  // Pixels a side.

std::vector<FlagGroup> Flags() {
  return {{"What is wanted", {{"query"}, {"k"}, {"duplicates"}, {"most_pairs"}}},
          {"A page", {{"output"}, {"data_path"}}}};
}

// Pictures that belong together, with what is said of each.
struct Group {
  std::string title;
  std::vector<std::pair<int64_t, std::string>> rows;
};

absl::StatusOr<int64_t> RowOf(const Embeddings& embeddings, const std::string& query) {
  const int64_t rows = static_cast<int64_t>(embeddings.images.size());
  for (int64_t row = 0; row < rows; ++row) {
    if (embeddings.images[row].name == query) return row;
  }
  int64_t row = 0;
  if (absl::SimpleAtoi(query, &row) && row >= 0 && row < rows) return row;
  return absl::InvalidArgumentError(
      absl::StrCat("--query=", query, ": no picture has that name, nor is it a row from 0 to ", rows - 1));
}

absl::StatusOr<Group> Nearest(const Embeddings& embeddings, int64_t query, int64_t k) {
  KnnOptions options;
  options.k = {k + 1};  // The picture itself is among them.
  const at::Tensor no_labels = at::zeros({embeddings.values.size(0)}, at::kLong);
  TEC_ASSIGN_OR_RETURN(const KnnClassifier knn, KnnClassifier::Create(embeddings.values, no_labels, 1, options));
  const KnnVotes votes = knn.Classify(embeddings.values.slice(0, query, query + 1));
  Group group = {embeddings.images[query].name, {{query, kQuery}}};
  for (int64_t i = 0; i < votes.neighbours.size(1) && static_cast<int64_t>(group.rows.size()) <= k; ++i) {
    const int64_t row = votes.neighbours[0][i].item<int64_t>();
    if (row != query) group.rows.emplace_back(row, absl::StrFormat("%.4f", votes.similarities[0][i].item<double>()));
  }
  return group;
}

std::vector<Group> Duplicates(const Embeddings& embeddings, double threshold, int64_t most) {
  std::vector<NearPair> pairs = NearPairs(embeddings.values, threshold);
  std::printf("%d pairs of %d pictures with a cosine of at least %g\n", static_cast<int>(pairs.size()),
              static_cast<int>(embeddings.images.size()), threshold);
  pairs.resize(std::min<size_t>(pairs.size(), most));
  std::vector<Group> groups;
  for (const NearPair& pair : pairs) {
    groups.push_back({absl::StrFormat("%.4f", pair.cosine), {{pair.first, ""}, {pair.second, ""}}});
  }
  return groups;
}

// "" for a picture that is not there or cannot be read.
std::string Thumbnail(const Dataset& dataset, const std::map<std::string, int64_t>& index, const std::string& name) {
  const auto found = index.find(name);
  if (found == index.end()) return "";
  const absl::StatusOr<std::string> bytes = dataset.Read(found->second);
  Image image(kThumbnail, kThumbnail);
  TransformScratch scratch;
  if (!bytes.ok() || !FeatureTransform(kThumbnail).Apply(*bytes, SampleKey(), &scratch, image.data()).ok()) return "";
  const absl::StatusOr<std::string> jpeg = EncodeJpeg(image);
  return jpeg.ok() ? DataUri("image/jpeg", *jpeg) : "";
}

absl::Status WritePage(const std::string& output, const std::string& data_path, const Embeddings& embeddings,
                       const std::vector<Group>& groups) {
  DatasetOptions options;
  options.labels = false;
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<Dataset> dataset, OpenDataset(data_path, Split::kWhole, options));
  std::map<std::string, int64_t> index;  // By the name as files of vectors have it.
  for (int64_t i = 0; i < dataset->size(); ++i) index[ToUtf8(dataset->name(i))] = i;
  std::string body;
  int64_t missing = 0;
  for (const Group& group : groups) {
    absl::StrAppend(&body, "<h2>", HtmlText(group.title), "</h2><div class=\"pictures\">\n");
    for (const auto& [row, text] : group.rows) {
      const std::string& name = embeddings.images[row].name;
      const std::string uri = Thumbnail(*dataset, index, name);
      missing += uri.empty();
      absl::StrAppend(&body, "<figure>", uri.empty() ? "" : absl::StrCat("<img alt=\"\" src=\"", uri, "\">"),
                      "<figcaption>", HtmlText(absl::StrCat(text, " ", name)), "</figcaption></figure>\n");
    }
    body += "</div>\n";
  }
  if (missing > 0) {
    TEC_LOG(WARNING) << missing << " pictures are not in " << Printable(data_path) << " or cannot be read";
  }
  TEC_RETURN_IF_ERROR(WriteFile(output, HtmlPage("Nearest pictures", body)));
  std::printf("written to %s\n", Printable(output).c_str());
  return absl::OkStatus();
}

absl::Status Run(const std::vector<std::string>& words) {
  if (words.size() != 1) return absl::InvalidArgumentError("say which file of vectors: photos.npy, for example");
  const std::string query = absl::GetFlag(FLAGS_query), output = UserPath(absl::GetFlag(FLAGS_output));
  const std::string data_path = UserPath(absl::GetFlag(FLAGS_data_path));
  const double threshold = absl::GetFlag(FLAGS_duplicates);
  if (query.empty() == (threshold == 0)) {
    return absl::InvalidArgumentError("give one of --query=NAME and --duplicates=0.98");
  }
  if (threshold < 0 || threshold > 1) return absl::InvalidArgumentError("--duplicates is a cosine, from 0 to 1");
  if (absl::GetFlag(FLAGS_k) < 1 || absl::GetFlag(FLAGS_most_pairs) < 1) {
    return absl::InvalidArgumentError("--k and --most_pairs must be at least 1");
  }
  if (!output.empty() && data_path.empty()) {
    return absl::InvalidArgumentError("--output shows pictures: --data_path says where they are");
  }
  TEC_ASSIGN_OR_RETURN(const Embeddings embeddings, ReadEmbeddings(UserPath(words[0])));
  std::vector<Group> groups;
  if (!query.empty()) {
    TEC_ASSIGN_OR_RETURN(const int64_t row, RowOf(embeddings, query));
    TEC_ASSIGN_OR_RETURN(Group group, Nearest(embeddings, row, absl::GetFlag(FLAGS_k)));
    groups.push_back(std::move(group));
  } else {
    groups = Duplicates(embeddings, threshold, absl::GetFlag(FLAGS_most_pairs));
  }
  for (const Group& group : groups) {
    std::printf("%s%s", query.empty() ? "" : "nearest to ", Printable(group.title).c_str());
    for (const auto& [row, text] : group.rows) {
      const std::string name = Printable(embeddings.images[row].name);
      if (query.empty()) {
        std::printf("  %s", name.c_str());
      } else if (text != kQuery) {
        std::printf("\n%s  %s", text.c_str(), name.c_str());
      }
    }
    std::printf("\n");
  }
  return output.empty() ? absl::OkStatus() : WritePage(output, data_path, embeddings, groups);
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  std::vector<std::string> words;
  const auto parsed = ParseFlags(argc, argv, Flags(), &words);
  if (parsed.ok() && parsed->help) {
    std::printf("%s%s", kUsage, DescribeFlags(Flags()).c_str());
    return kExitDone;
  }
  const absl::Status status = parsed.ok() ? CatchTorch([&] { return Run(words); }) : parsed.status();
  return ReportStatus("neighbours", status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
