// A data set: numbered encoded images, some with labels. Decoding and cropping are the loader's (data/loader).
//
//   TEC_ASSIGN_OR_RETURN(std::unique_ptr<Dataset> dataset, OpenDataset("/imagenet", Split::kTrain));
//   TEC_ASSIGN_OR_RETURN(std::string jpeg, dataset->Read(17));

#ifndef TEC_DATA_DATASET_DATASET_H_
#define TEC_DATA_DATASET_DATASET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset/read_file.h"  // kMaxEncodedBytes

namespace tec {

// Immutable once made; every method may be called from many threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;

  // At least 1.
  virtual int64_t size() const = 0;

  // In [0, classes().size()), or -1 where there are no labels. Either all images of a data set have a label or none.
  virtual int32_t label(int64_t index) const = 0;

  // How image `index` is called in messages: its path under the data set's folder. Unique.
  virtual std::string name(int64_t index) const = 0;

  // The file that image `index` lies in, its own or one of many images (a shard, a packed file), as an absolute path;
  // empty for images that lie in no file.
  virtual std::string file(int64_t /*index*/) const { return ""; }

  // Names of the classes in the order of their labels; empty where there are no labels.
  virtual const std::vector<std::string>& classes() const = 0;

  // What is missing because a file of many images is broken: the file's name and its defect, each. Of what could be
  // catalogued nothing is said here; whether an image is good shows when it is read and decoded.
  virtual std::vector<std::string> defects() const { return {}; }

  // "12 files, not taken for pictures by their names: .gif 7, .txt 5"; empty where there are none.
  virtual std::string left_out() const { return ""; }

  // Of a data set without labels where they were asked for and might have been: why there are none. Else empty.
  virtual std::string why_unlabelled() const { return ""; }

  // Replaces `*bytes` by the encoded image, keeping its capacity. The status names neither the data set nor the image:
  // the caller adds name(index). ResourceExhausted, before memory is taken, for more than kMaxEncodedBytes.
  virtual absl::Status Read(int64_t index, std::string* bytes) const = 0;

  // The same with a fresh string.
  absl::StatusOr<std::string> Read(int64_t index) const;

  // The encoded image, unchanged till *buffer changes or the data set ends: in *buffer, unless a data set has it in
  // memory. Errors are Read's.
  virtual absl::StatusOr<absl::string_view> View(int64_t index, std::string* buffer) const;

  bool labelled() const { return !classes().empty(); }
};

// Which part of a path to open. A part NAME of a folder is a folder NAME/ in it, or else a file NAME.tecpack, NAME.tar,
// NAME.zip, NAME.txt or NAME.csv (lists), the first of these that is there. A zip or tar file may hold such folders,
// too, and a table lines of such parts.
enum class Split {
  kTrain,    // The part "train" if there is one, else path itself.
  kHeldOut,  // The part "val", or else "test"; an error if there is neither. Never path itself.
  kWhole,    // path itself.
};

struct DatasetOptions {
  // false: no labels, whatever the data set has. Folders are no classes: all pictures under the path, at any depth, in
  // ImageFolder's order; folders without pictures and pictures beside folders are welcome then, and so are lists and
  // shards that have labels for some pictures only.
  bool labels = true;
  // Shell patterns (*, ?, [...]) of what to leave out: names, or paths under the data set; of a folder all that is in
  // it.
  std::vector<std::string> exclude;
  // Where an index of a folder, an archive or a folder of archives is kept from one start to the next; empty: nowhere.
  // It is used as long as no folder below the path and no archive has changed its modification time (or an archive its
  // size), which takes a stat() each, and made anew otherwise. The folder is made where it is missing.
  std::string index_folder;
};

// Opens what `path` holds:
//   - class folders: every subfolder is a class, with its pictures at any depth. Classes are numbered in the bytewise
//     order of their names, and pictures are in the order of torchvision's ImageFolder, so an index means the same
//     picture in both. A class folder without a picture is an error, as there;
//   - a flat folder: pictures directly in it, in bytewise order of their names, without labels. Pictures both directly
//     in the folder and in its subfolders are an error: which of them are meant is a guess;
//   - a list file in UTF-8, with or without its mark: a line is a picture's path, relative to the folder of the list or
//     absolute, or the path, a tab or a space, and the label, a whole number from 0. All lines have a label or none
//     has. Empty lines and lines starting with # are passed over. A path that itself ends in a space and digits needs a
//     tab and a label, or quotes around it, in which a quote is doubled. A first line that names columns (path, label
//     and their like) makes it a table, whose fields are apart by , ; | or tabs, and whose labels may be names. Its
//     column split (or its like, or is_train) says which lines are the part that is opened, where it says train of some
//     and val or test of others;
//   - archives: tar or zip files, a folder of such, or a path with braces, "train-{000..003}.tar" (archives.h);
//   - a packed file: written by //tools:shard, ending in .tecpack. It keeps names, labels and class names.
// A picture is a file whose name ends in one of kPictureExtensions (names.h), in upper or lower case, and in archives
// and without labels (DatasetOptions) also in one of kMorePictureExtensions: there no numbering has to be
// ImageFolder's. A list's files may be called anything. Contents are not looked at before Read(). Files that are left
// out are counted in the log by the ends of their names. Litter of other programs (names.h) is left out everywhere.
//
// A folder called "train" is taken for a class, not a split, when it holds pictures but no folders and stands beside
// folders other than val, valid, validation and test.
//
// A folder with more than a few seconds to scan shows progress in the log. Memory: 12 bytes an image plus its name, 20
// more in archives and packed files, 12 more in zips.
//
// Errors: NotFound for a missing path or a folder without pictures, saying what was looked for; InvalidArgument for
// what the rules above refuse, with the line number in a list, and for containers that are not read, by name and with
// what to do (foreign.h); PermissionDenied and others of the system as they are. Messages are Printable.
absl::StatusOr<std::unique_ptr<Dataset>> OpenDataset(const std::string& path, Split split,
                                                     const DatasetOptions& options = DatasetOptions());

// How labels would be given to `dataset`, which has none, for a message that ends "needs ...".
std::string LabelsOf(const Dataset& dataset);

// DatasetOptions::exclude from a flag's value: patterns with commas between them.
std::vector<std::string> ParseExclude(absl::string_view globs);

}  // namespace tec

#endif  // TEC_DATA_DATASET_DATASET_H_
