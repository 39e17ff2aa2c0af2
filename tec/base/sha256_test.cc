#include "tec/base/sha256.h"

#include <gtest/gtest.h>

#include <string>

#include "tec/base/file.h"

namespace tec {
namespace {

// The examples of FIPS 180-4.
TEST(Sha256Test, PublishedVectors) {
  EXPECT_EQ(Sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256Test, FilesInPieces) {
  const std::string path = ::testing::TempDir() + "/sha256";
  // Around a block, and around the piece of 1 MiB that is read at once.
  for (const size_t size :
       {size_t{0}, size_t{63}, size_t{64}, (size_t{1} << 20) - 1, size_t{1} << 20, (size_t{1} << 20) + 65}) {
    const std::string bytes(size, 'x');
    ASSERT_TRUE(WriteFile(path, bytes).ok());
    EXPECT_EQ(*Sha256OfFile(path), Sha256(bytes)) << size;
  }
  EXPECT_TRUE(absl::IsNotFound(Sha256OfFile(path + ".none").status()));
}

}  // namespace
}  // namespace tec
