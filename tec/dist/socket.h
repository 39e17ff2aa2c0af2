// TCP sockets for the ranks' line to one another (lifeline.h): names, listening, and frames over a socket that never
// blocks.

#ifndef TEC_DIST_SOCKET_H_
#define TEC_DIST_SOCKET_H_

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

// Closes what it holds.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() { Close(); }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int fd() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  void Close();
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

struct NetAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  std::string host() const;  // In digits.
  int port() const;
  void set_port(int port);
  bool is_loopback() const;
};

// Of a name or of digits; IPv4 first. NotFound: there is no such host. Unavailable: it cannot be told now.
absl::StatusOr<std::vector<NetAddress>> ResolveHost(const std::string& host, int port);
// All of this machine's addresses; the loopback device.
NetAddress AnyAddress(int port);
NetAddress LoopbackAddress(int port);
// Whether this machine has the address.
bool IsOwnAddress(NetAddress address);
// The socket's end here.
absl::StatusOr<NetAddress> LocalAddress(int fd);
// The name that this machine gives itself.
std::string HostName();

// Listens there (port 0: at any free one). The status says what is in the way and, for a port that is taken, what to
// do.
absl::StatusOr<Socket> ListenAt(const NetAddress& address);
// Unavailable: nobody answers within the time.
absl::StatusOr<Socket> ConnectTo(const NetAddress& address, double seconds);

struct Frame {
  uint8_t type = 0;
  std::string payload;
};

// Frames over a connected socket: nothing here waits. A connection that has failed stays so.
class FrameConnection {
 public:
  explicit FrameConnection(Socket socket);

  int fd() const { return socket_.fd(); }
  bool is_open() const { return socket_.is_open(); }
  void Close() { socket_.Close(); }
  // Larger frames end the connection: who is not known yet gets little room.
  void set_limit(size_t bytes) { limit_ = bytes; }

  void SendRaw(absl::string_view bytes) { out_.append(bytes.data(), bytes.size()); }
  void Send(const Frame& frame);
  bool has_output() const { return sent_ < out_.size(); }
  // Writes what the socket takes now.
  void Flush();
  // Reads what is there. False at the end: the peer has closed, or the connection is broken.
  bool Receive();
  // The next `size` bytes; the next whole frame.
  std::optional<std::string> TakeRaw(size_t size);
  std::optional<Frame> Take();

 private:
  Socket socket_;
  std::string in_, out_;
  size_t sent_ = 0, taken_ = 0;
  size_t limit_ = size_t{1} << 30;
  bool good_ = true;
};

// Numbers and texts one after another in a payload.
class PayloadWriter {
 public:
  PayloadWriter& Number(int64_t value);
  PayloadWriter& Text(absl::string_view text);
  const std::string& payload() const { return payload_; }

 private:
  std::string payload_;
};

// Reads them in order. What is not there reads as 0 and "", and ok() is false from then on.
class PayloadReader {
 public:
  explicit PayloadReader(absl::string_view payload) : rest_(payload) {}
  int64_t Number();
  std::string Text();
  bool ok() const { return ok_; }

 private:
  absl::string_view rest_;
  bool ok_ = true;
};

}  // namespace tec

#endif  // TEC_DIST_SOCKET_H_
