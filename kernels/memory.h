// Every allocation names its purpose; the sum of them is what a run needs and what its log shows.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/tensor.h"

namespace nibble {

enum class Purpose : uint8_t {
  weights,
  adapter,
  gradient,
  optimizer,
  activation,
  checkpoint,
  logits,
  scratch,
  kv,
  staging,
};
constexpr int kPurposes = 10;
const char* name_of(Purpose p);

// Memory of one device. Thread-safe. Buffers are 64-byte aligned; freed ones are kept for reuse up
// to a bound, so that a step allocates nothing from the system after the first.
class Memory {
 public:
  explicit Memory(int64_t limit = 0);  // bytes; 0: the machine's own limit
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Throws OutOfMemory with a table by purpose, what there is, and three cures.
  std::shared_ptr<Buffer> allocate(int64_t bytes, Purpose purpose);
  int64_t live() const;
  int64_t live(Purpose p) const;
  int64_t peak() const;  // largest live() since reset_peak
  int64_t peak(Purpose p) const;
  void reset_peak();
  void trim();                // gives cached buffers back to the system
  std::string table() const;  // "activations 6.9   weights 1.6 …"

 private:
  friend class Buffer;
  void release(void* data, int64_t bytes, Purpose purpose);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nibble
