// Where buffers come from. Large ones are whole huge pages taken from the system by themselves, so
// that giving one back really gives it back; freed ones wait for the next of about their size, as
// long as all that is held stays within the peak of what was in use.
#include "kernels/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "kernels/machine_memory.h"

namespace nibble {
namespace {

constexpr int64_t kAlign = 64;
constexpr int64_t kPage = 4096;
constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int64_t kKeepFrom = 64 << 10;       // below, malloc is a cache already
constexpr int64_t kAskSystemFrom = 16 << 20;  // what is worth a look at /proc before it is taken

constexpr const char* kNames[kPurposes] = {"weights",    "adapter",    "gradient", "optimizer",
                                           "activation", "checkpoint", "logits",   "scratch",
                                           "kv",         "staging"};

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
int64_t capacity_for(int64_t bytes) {
  return round_up(std::max<int64_t>(bytes, 1), bytes >= kHugePage ? kPage : kAlign);
}

// A range that begins on a huge page; what the alignment left over on both sides is given back.
void* map_huge(int64_t capacity) {
  const int64_t reserve = capacity + kHugePage;
  void* raw = mmap(nullptr, static_cast<size_t>(reserve), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(raw);
  const auto address = static_cast<int64_t>(reinterpret_cast<uintptr_t>(raw));
  const int64_t head = round_up(address, kHugePage) - address;
  const int64_t tail = reserve - head - capacity;
  if (head > 0) munmap(begin, static_cast<size_t>(head));
  if (tail > 0) munmap(begin + head + capacity, static_cast<size_t>(tail));
  madvise(begin + head, static_cast<size_t>(capacity), MADV_HUGEPAGE);
  return begin + head;
}

void* take_from_system(int64_t capacity) {
  if (capacity >= kHugePage) return map_huge(capacity);
  return std::aligned_alloc(static_cast<size_t>(kAlign), static_cast<size_t>(capacity));
}

void give_to_system(void* data, int64_t capacity) {
  if (capacity >= kHugePage) {
    munmap(data, static_cast<size_t>(capacity));
  } else {
    std::free(data);
  }
}

}  // namespace

const char* name_of(Purpose p) { return kNames[static_cast<size_t>(p)]; }

struct Memory::Impl {
  std::mutex mutex;
  int64_t limit = 0;
  bool own_limit = false;
  int64_t live = 0, peak = 0;
  std::array<int64_t, kPurposes> live_by{}, peak_by{};
  int64_t held = 0;                    // taken from the system and not given back, in use or kept
  int64_t held_bound = 0;              // the largest `live` ever: what may be held without need
  std::multimap<int64_t, void*> kept;  // free buffers by capacity
  std::unordered_map<void*, int64_t> capacity_of;  // of buffers in use

  void count(int64_t bytes, Purpose purpose) {
    const auto p = static_cast<size_t>(purpose);
    live += bytes;
    live_by[p] += bytes;
    peak = std::max(peak, live);
    peak_by[p] = std::max(peak_by[p], live_by[p]);
    held_bound = std::max(held_bound, live);
  }

  // The smallest kept buffer that fits without wasting more than an eighth.
  void* reuse(int64_t capacity) {
    const auto fit = kept.lower_bound(capacity);
    if (fit == kept.end() || fit->first > capacity + capacity / 8) return nullptr;
    void* data = fit->second;
    capacity_of.emplace(data, fit->first);
    kept.erase(fit);
    return data;
  }

  // Gives kept buffers back, the largest first, until at most `bound` bytes are held.
  void shrink_to(int64_t bound) {
    while (held > bound && !kept.empty()) {
      const auto largest = std::prev(kept.end());
      give_to_system(largest->second, largest->first);
      held -= largest->first;
      kept.erase(largest);
    }
  }

  std::string table() const {
    std::vector<std::pair<int64_t, int>> order;
    for (int p = 0; p < kPurposes; ++p) {
      const int64_t bytes = live_by[static_cast<size_t>(p)];
      if (bytes > 0) order.emplace_back(-bytes, p);
    }
    std::sort(order.begin(), order.end());
    std::vector<std::string> parts;
    for (const auto& [bytes, p] : order) parts.push_back(cat(kNames[p], " ", human_bytes(-bytes)));
    return parts.empty() ? "nothing" : join(parts, "   ");
  }

  [[noreturn]] void refuse(int64_t bytes, Purpose purpose, int64_t free) const {
    throw OutOfMemory(cat(
        "not enough memory: ", human_bytes(bytes), " for ", name_of(purpose), ", ",
        human_bytes(std::max<int64_t>(0, free)), own_limit ? " left of the limit of " : " free of ",
        human_bytes(limit), "\n  in use:   ", table(),
        "\n  cures:    a smaller micro_batch_size or sequence_len (a smaller batch when serving)\n"
        "            gradient_checkpointing: true\n"
        "            load_in_4bit: true, or optimizer: adamw_8bit"));
  }

  // Throws when a new buffer of this capacity cannot be had; gives up kept ones before.
  void make_room(int64_t capacity, int64_t bytes, Purpose purpose) {
    shrink_to(std::max<int64_t>(0, held_bound - capacity));
    if (held > limit - capacity) shrink_to(std::max<int64_t>(0, limit - capacity));
    if (held > limit - capacity) refuse(bytes, purpose, limit - held);
    if (own_limit || capacity < kAskSystemFrom) return;
    if (capacity <= machine_memory().available) return;
    shrink_to(0);
    const int64_t free = machine_memory().available;
    if (capacity > free) refuse(bytes, purpose, free);
  }
};

Memory::Memory(int64_t limit) : impl_(std::make_unique<Impl>()) {
  impl_->own_limit = limit > 0;
  impl_->limit = limit > 0 ? limit : machine_memory().total;
}

Memory::~Memory() { trim(); }

std::shared_ptr<Buffer> Memory::allocate(int64_t bytes, Purpose purpose) {
  check(bytes >= 0, cat("allocate: ", bytes, " bytes"));
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  // Larger than any address space: refused before it is rounded up.
  if (bytes > int64_t{1} << 56) impl_->refuse(bytes, purpose, impl_->limit - impl_->held);
  const int64_t capacity = capacity_for(bytes);
  void* data = capacity >= kKeepFrom ? impl_->reuse(capacity) : nullptr;
  if (data == nullptr) {
    impl_->make_room(capacity, bytes, purpose);
    data = take_from_system(capacity);
    if (data == nullptr) {
      impl_->shrink_to(0);
      data = take_from_system(capacity);
    }
    if (data == nullptr) impl_->refuse(bytes, purpose, machine_memory().available);
    impl_->held += capacity;
    impl_->capacity_of.emplace(data, capacity);
  }
  impl_->count(bytes, purpose);
  return std::make_shared<Buffer>(this, data, bytes, purpose);
}

void Memory::release(void* data, int64_t bytes, Purpose purpose) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->live -= bytes;
  impl_->live_by[static_cast<size_t>(purpose)] -= bytes;
  const auto entry = impl_->capacity_of.find(data);
  const int64_t capacity = entry->second;
  impl_->capacity_of.erase(entry);
  if (capacity < kKeepFrom) {
    give_to_system(data, capacity);
    impl_->held -= capacity;
    return;
  }
  impl_->kept.emplace(capacity, data);
  impl_->shrink_to(impl_->held_bound);
}

int64_t Memory::live() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->live;
}

int64_t Memory::live(Purpose p) const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->live_by[static_cast<size_t>(p)];
}

int64_t Memory::peak() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->peak;
}

int64_t Memory::peak(Purpose p) const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->peak_by[static_cast<size_t>(p)];
}

void Memory::reset_peak() {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->peak = impl_->live;
  impl_->peak_by = impl_->live_by;
}

void Memory::trim() {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->shrink_to(0);
}

std::string Memory::table() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->table();
}

}  // namespace nibble
