// A directory for the sockets and files of one test.
#ifndef TESTS_TESTING_TEMP_DIR_H_
#define TESTS_TESTING_TEMP_DIR_H_

#include <string>
#include <string_view>

namespace vfio_user {

// Makes a directory that nobody else uses, and removes it and all that is in it. It is in
// $TEST_TMPDIR, unless that is so long that a socket's path would not fit an address: then in /tmp.
// Aborts the test program when there is no directory to be had.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

  // The path of `name`, of at most 24 bytes, in it.
  std::string File(std::string_view name) const;

 private:
  std::string path_;
};

}  // namespace vfio_user

#endif  // TESTS_TESTING_TEMP_DIR_H_
