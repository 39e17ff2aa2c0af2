#include "eval/report/gallery.h"

#include "ATen/ATen.h"
#include "data/image/decode.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

// Pixels that no coder makes small. Reproducible, without LibTorch's generator.
at::Tensor Noise(int64_t size) {
  const at::Tensor numbers = at::arange(size * size * 3, at::kDouble);
  return (at::sin(numbers * numbers) * 127 + 128).to(at::kByte).view({size, size, 3});
}

TEST(GalleryTest, KeepsWhatHasATag) {
  Gallery gallery(/*keeps=*/true);
  const std::string html = gallery.Photo(Noise(8), "<b>", "a/b", 3);
  EXPECT_NE(html.find("src=\"data:image/jpeg;base64,"), std::string::npos);
  EXPECT_NE(html.find("<figcaption>&lt;b&gt;"), std::string::npos);
  gallery.Map(gallery.kept()[0].encoded, "on the page alone");
  ASSERT_EQ(gallery.kept().size(), 1u);
  EXPECT_EQ(gallery.kept()[0].tag, "a/b");
  EXPECT_EQ(gallery.kept()[0].step, 3);
  Gallery page(/*keeps=*/false);
  EXPECT_EQ(page.Photo(Noise(8), "<b>", "a/b", 3), html);
  EXPECT_TRUE(page.kept().empty());
}

// 20 MB of a page are for more than its pictures.
TEST(GalleryTest, StaysSmallWhateverItIsGiven) {
  Gallery gallery(/*keeps=*/true);
  size_t bytes = 0, drawn = 0;
  const at::Tensor large = Noise(700);
  while (!gallery.full()) {
    const std::string html = gallery.Photo(large, "large");
    bytes += html.size();
    drawn += html.empty() ? 0 : 1;
    ASSERT_LT(drawn, 1000u);
  }
  EXPECT_LT(bytes, size_t{15} << 20);
  // Enough for sixteen pictures with all that is drawn of them.
  EXPECT_GT(drawn, 100u);
  EXPECT_TRUE(gallery.Photo(large, "one more", "tag").empty());
  EXPECT_EQ(gallery.kept().size(), 1u);  // TensorBoard has room.
  EXPECT_FALSE(gallery.Note().empty());
  EXPECT_TRUE(Gallery(true).Note().empty());
}

TEST(GalleryTest, LargePicturesAreShownSmaller) {
  Gallery gallery(/*keeps=*/true);
  gallery.Photo(Noise(700), "", "tag");
  const auto image = DecodeImage(gallery.kept()[0].encoded);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->width(), 256);
}

}  // namespace
}  // namespace tec
