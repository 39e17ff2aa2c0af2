#include "tec/dist/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tec/base/file.h"

namespace tec {
namespace {

std::string PortText(const NetAddress& address) { return absl::StrCat(address.host(), ":", address.port()); }

}  // namespace

void Socket::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

std::string NetAddress::host() const {
  char text[NI_MAXHOST] = "?";
  getnameinfo(reinterpret_cast<const sockaddr*>(&storage), size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST);
  return text;
}

int NetAddress::port() const {
  return ntohs(storage.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port
                                             : reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

void NetAddress::set_port(int port) {
  const uint16_t number = htons(static_cast<uint16_t>(port));
  if (storage.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port = number;
  } else {
    reinterpret_cast<sockaddr_in*>(&storage)->sin_port = number;
  }
}

bool NetAddress::is_loopback() const {
  if (storage.ss_family == AF_INET6) {
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr);
  }
  return ntohl(reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr.s_addr) >> 24 == 127;
}

absl::StatusOr<std::vector<NetAddress>> ResolveHost(const std::string& host, int port) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (error != 0) {
    const std::string text = absl::StrCat(
        "the address of '", host, "' cannot be found: ", error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    return error == EAI_AGAIN ? absl::UnavailableError(text) : absl::NotFoundError(text);
  }
  std::vector<NetAddress> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    NetAddress address;
    memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
    addresses.push_back(address);
  }
  freeaddrinfo(found);
  std::stable_sort(addresses.begin(), addresses.end(), [](const NetAddress& a, const NetAddress& b) {
    return a.storage.ss_family == AF_INET && b.storage.ss_family != AF_INET;
  });
  return addresses;
}

namespace {

NetAddress Ipv4Address(uint32_t host, int port) {
  NetAddress address;
  auto* ip = reinterpret_cast<sockaddr_in*>(&address.storage);
  ip->sin_family = AF_INET;
  ip->sin_addr.s_addr = htonl(host);
  address.size = sizeof(*ip);
  address.set_port(port);
  return address;
}

}  // namespace

NetAddress AnyAddress(int port) { return Ipv4Address(INADDR_ANY, port); }
NetAddress LoopbackAddress(int port) { return Ipv4Address(INADDR_LOOPBACK, port); }

bool IsOwnAddress(NetAddress address) {
  const Socket probe(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  address.set_port(0);
  return probe.is_open() && bind(probe.fd(), reinterpret_cast<sockaddr*>(&address.storage), address.size) == 0;
}

absl::StatusOr<NetAddress> LocalAddress(int fd) {
  NetAddress address;
  address.size = sizeof(address.storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.size) != 0) {
    return ErrnoToStatus(errno, "cannot find the address of", "a socket");
  }
  return address;
}

std::string HostName() {
  char name[256] = "";
  if (gethostname(name, sizeof(name) - 1) != 0 || *name == 0) return "unnamed";
  return name;
}

absl::StatusOr<Socket> ListenAt(const NetAddress& address) {
  Socket listener(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (!listener.is_open()) return ErrnoToStatus(errno, "cannot listen at", PortText(address));
  setsockopt(listener.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(listener.fd(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0 ||
      listen(listener.fd(), SOMAXCONN) != 0) {
    const int error = errno;
    const absl::Status status = ErrnoToStatus(error, "cannot listen at", PortText(address));
    if (error != EADDRINUSE) return status;
    // Something that the user can put right.
    return absl::FailedPreconditionError(
        absl::StrCat(status.message(), "; end the other program there, or choose another MASTER_PORT or --dist_url"));
  }
  return listener;
}

absl::StatusOr<Socket> ConnectTo(const NetAddress& address, double seconds) {
  Socket connection(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto failed = [&](int error) { return ErrnoToStatus(error, "cannot connect to", PortText(address)); };
  if (!connection.is_open()) return failed(errno);
  if (connect(connection.fd(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0) {
    if (errno != EINPROGRESS) return failed(errno);
    pollfd writable = {connection.fd(), POLLOUT, 0};
    if (poll(&writable, 1, static_cast<int>(seconds * 1000)) <= 0) return failed(ETIMEDOUT);
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(connection.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return failed(error);
  }
  return connection;
}

FrameConnection::FrameConnection(Socket socket) : socket_(std::move(socket)) {
  const int on = 1;
  setsockopt(fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  fcntl(fd(), F_SETFL, fcntl(fd(), F_GETFL) | O_NONBLOCK);
}

void FrameConnection::Send(const Frame& frame) {
  const uint32_t size = htonl(static_cast<uint32_t>(frame.payload.size()));
  out_.append(reinterpret_cast<const char*>(&size), sizeof(size));
  out_.push_back(static_cast<char>(frame.type));
  out_.append(frame.payload);
}

void FrameConnection::Flush() {
  while (good_ && is_open() && has_output()) {
    const ssize_t written = send(fd(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR) continue;
    // What else is wrong shows in Receive: what the peer said before it went must be read.
    if (written <= 0) return;
    sent_ += static_cast<size_t>(written);
  }
  if (!has_output()) {
    out_.clear();
    sent_ = 0;
  }
}

bool FrameConnection::Receive() {
  char buffer[65536];
  while (good_ && is_open()) {
    const ssize_t size = recv(fd(), buffer, sizeof(buffer), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (size <= 0) break;
    in_.append(buffer, static_cast<size_t>(size));
  }
  return false;
}

std::optional<std::string> FrameConnection::TakeRaw(size_t size) {
  if (in_.size() - taken_ < size) return std::nullopt;
  std::string bytes = in_.substr(taken_, size);
  taken_ += size;
  if (taken_ == in_.size()) {
    in_.clear();
    taken_ = 0;
  }
  return bytes;
}

std::optional<Frame> FrameConnection::Take() {
  constexpr size_t kHeader = sizeof(uint32_t) + 1;
  if (in_.size() - taken_ < kHeader) return std::nullopt;
  uint32_t size;
  memcpy(&size, in_.data() + taken_, sizeof(size));
  size = ntohl(size);
  if (size > limit_) {
    good_ = false;
    return std::nullopt;
  }
  if (in_.size() - taken_ < kHeader + size) return std::nullopt;
  Frame frame;
  frame.type = static_cast<uint8_t>(in_[taken_ + sizeof(size)]);
  taken_ += kHeader;
  frame.payload = *TakeRaw(size);
  return frame;
}

PayloadWriter& PayloadWriter::Number(int64_t value) {
  payload_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  return *this;
}

PayloadWriter& PayloadWriter::Text(absl::string_view text) {
  Number(static_cast<int64_t>(text.size()));
  payload_.append(text.data(), text.size());
  return *this;
}

int64_t PayloadReader::Number() {
  int64_t value = 0;
  ok_ = ok_ && rest_.size() >= sizeof(value);
  if (!ok_) return 0;
  memcpy(&value, rest_.data(), sizeof(value));
  rest_.remove_prefix(sizeof(value));
  return value;
}

std::string PayloadReader::Text() {
  const int64_t size = Number();
  ok_ = ok_ && size >= 0 && static_cast<uint64_t>(size) <= rest_.size();
  if (!ok_) return "";
  std::string text(rest_.substr(0, static_cast<size_t>(size)));
  rest_.remove_prefix(static_cast<size_t>(size));
  return text;
}

}  // namespace tec
