// Which pages stay is fixed: steps visit all in one cyclic order, of which the least recently used
// page is always the next one needed. Those that stay are spread evenly over the order, so that
// stepping them hides reading and writing the others. In the file every state is one stretch and
// its absmax another: saving maps them.
#include "optim/paged_state.h"

#include <algorithm>
#include <cstring>

#include "optim/errand_thread.h"
#include "optim/page_file.h"

namespace nibble {
namespace {

constexpr int64_t kUnit = 4096;                     // pages begin and end at multiples of it
constexpr int64_t kLargestPage = int64_t{4} << 20;  // bytes: longer ones overlap no better
constexpr int64_t kBuffers = 3;

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// A stretch of one state's values or scales: where in its page, where in the file.
struct Stretch {
  int64_t in_page = 0, in_file = 0, bytes = 0;
};

struct Piece {
  size_t group;
  int64_t begin, count;
  std::array<Stretch, kMaxStates> values, absmax;
};

struct Page {
  std::vector<Piece> pieces;
  int64_t bytes = 0;
  Tensor memory;  // undefined: it lies in the file
};

class PagedStates : public StateStore {
 public:
  PagedStates(const Ctx& ctx, std::vector<StateGroup> groups, const PagingOptions& paging)
      : groups_(std::move(groups)), file_(paging.directory) {
    place_in_file();
    cut_into_pages(std::min(paging.budget / (4 * kBuffers), kLargestPage));
    int64_t largest = 0;
    for (const Page& page : pages_) largest = std::max(largest, page.bytes);
    for (Tensor& b : buffers_) b = bytes_of_memory(ctx, largest, Purpose::staging);
    keep_resident(ctx, paging.budget - kBuffers * largest);
    for (Page& page : pages_) start(page);
  }

  void walk(const std::vector<bool>& wanted, bool writes,
            const std::function<void(const StateSlice&)>& visit) override {
    std::vector<const Page*> order, cold;
    for (const Page& page : pages_) {
      const auto is_wanted = [&](const Piece& piece) { return wanted[piece.group]; };
      if (std::none_of(page.pieces.begin(), page.pieces.end(), is_wanted)) continue;
      order.push_back(&page);
      if (!page.memory.defined()) cold.push_back(&page);
    }
    std::array<int64_t, kBuffers> read{};
    const auto fetch = [&](size_t i) {
      if (i >= cold.size()) return;
      read[i % kBuffers] = thread_.give(
          [this, page = cold[i], buffer = buffer_of(i)] { transfer(*page, buffer, false); });
    };
    fetch(0);
    size_t next = 0;  // of cold
    for (const Page* page : order) {
      const bool here = page->memory.defined();
      char* memory = here ? page->memory.data<char>() : buffer_of(next);
      if (!here) {
        thread_.wait(read[next % kBuffers]);
        fetch(next + 1);  // behind the writing of next - 2, which used that buffer
      }
      visit_pieces(*page, memory, wanted, visit);
      if (here) continue;
      if (writes) thread_.give([this, page, memory] { transfer(*page, memory, true); });
      ++next;
    }
    thread_.wait_for_all();
  }

  NamedTensors tensors() const override {
    for (const Page& page : pages_) {
      if (page.memory.defined()) transfer(page, page.memory.data<char>(), true);
    }
    const std::shared_ptr<const char> file = file_.map(file_bytes_);
    const auto window = [&](int64_t at, const Shape& shape, DType dtype) {
      return Tensor::wrap(const_cast<char*>(file.get()) + at, shape, dtype, file);
    };
    NamedTensors all;
    for (size_t g = 0; g < groups_.size(); ++g) {
      for (size_t k = 0; k < groups_[g].states.size(); ++k) {
        const StateLayout& s = groups_[g].states[k];
        all.emplace_back(s.name, window(values_at_[g][k], s.shape, s.dtype()));
        if (!s.coded()) continue;
        const Shape blocks{s.blocks(groups_[g].elements)};
        all.emplace_back(s.absmax_name(), window(absmax_at_[g][k], blocks, DType::f32));
      }
    }
    return all;
  }

  void load(StateReader& reader) override {
    for (size_t g = 0; g < groups_.size(); ++g) {
      for (size_t k = 0; k < groups_[g].states.size(); ++k) {
        const StateLayout& s = groups_[g].states[k];
        const Tensor values = reader.take(s.name, s.shape, s.dtype());
        file_.write(values_at_[g][k], values.raw(), values.bytes());
        if (!s.coded()) continue;
        const Tensor absmax =
            reader.take(s.absmax_name(), {s.blocks(groups_[g].elements)}, DType::f32);
        file_.write(absmax_at_[g][k], absmax.raw(), absmax.bytes());
      }
    }
    for (const Page& page : pages_) {
      if (page.memory.defined()) transfer(page, page.memory.data<char>(), false);
    }
  }

  int64_t bytes() const override {
    int64_t sum = 0;
    for (const StateGroup& group : groups_) sum += group.bytes(group.elements);
    return sum;
  }
  int64_t resident_bytes() const override {
    int64_t sum = 0;
    for (const Tensor& b : buffers_) sum += b.bytes();
    for (const Page& page : pages_) sum += page.memory.defined() ? page.memory.bytes() : 0;
    return sum;
  }

 private:
  static Tensor bytes_of_memory(const Ctx& ctx, int64_t bytes, Purpose purpose) {
    return Tensor::empty(ctx.memory, {bytes}, DType::u8, purpose);
  }
  char* buffer_of(size_t i) const { return buffers_[i % kBuffers].data<char>(); }

  void place_in_file() {
    const auto place = [&](int64_t bytes) {
      const int64_t at = file_bytes_;
      file_bytes_ += aligned(bytes);
      return at;
    };
    for (const StateGroup& group : groups_) {
      std::array<int64_t, kMaxStates> values{}, absmax{};
      for (size_t k = 0; k < group.states.size(); ++k) {
        const StateLayout& s = group.states[k];
        values[k] = place(group.elements * s.value_bytes());
        if (s.coded()) absmax[k] = place(4 * s.blocks(group.elements));
      }
      values_at_.push_back(values);
      absmax_at_.push_back(absmax);
    }
  }

  // Elements [begin, begin + count) of a group to the end of a page.
  void append(Page& page, size_t g, int64_t begin, int64_t count) const {
    Piece piece{g, begin, count, {}, {}};
    const auto stretch = [&](int64_t in_file, int64_t bytes) {
      const Stretch made{page.bytes, in_file, bytes};
      page.bytes += aligned(bytes);
      return made;
    };
    for (size_t k = 0; k < groups_[g].states.size(); ++k) {
      const StateLayout& s = groups_[g].states[k];
      piece.values[k] =
          stretch(values_at_[g][k] + begin * s.value_bytes(), count * s.value_bytes());
      if (!s.coded()) continue;
      piece.absmax[k] = stretch(absmax_at_[g][k] + 4 * (begin / s.block), 4 * s.blocks(count));
    }
    page.pieces.push_back(piece);
  }

  void cut_into_pages(int64_t target) {
    pages_.emplace_back();
    for (size_t g = 0; g < groups_.size(); ++g) {
      const StateGroup& group = groups_[g];
      if (group.states.empty()) continue;
      for (int64_t begin = 0; begin < group.elements;) {
        const int64_t left = group.elements - begin;
        const int64_t room = std::max<int64_t>(0, target - pages_.back().bytes);
        int64_t count = std::min(left, room / group.bytes(kUnit) * kUnit);
        if (count == 0 && group.bytes(left) <= room) count = left;
        if (count == 0 && pages_.back().bytes > 0) {
          pages_.emplace_back();
          continue;
        }
        if (count == 0) count = std::min(left, kUnit);
        append(pages_.back(), g, begin, count);
        begin += count;
      }
    }
  }

  // As many pages as fit, at equal distances.
  void keep_resident(const Ctx& ctx, int64_t room) {
    int64_t all = 0, passed = 0, kept = 0;
    for (const Page& page : pages_) all += page.bytes;
    const double share = static_cast<double>(room) / static_cast<double>(std::max<int64_t>(1, all));
    for (Page& page : pages_) {
      const double due = share * static_cast<double>(passed + page.bytes);
      passed += page.bytes;
      if (static_cast<double>(kept) >= due || kept + page.bytes > room) continue;
      page.memory = bytes_of_memory(ctx, page.bytes, Purpose::optimizer);
      kept += page.bytes;
    }
  }

  StateSlice slice_of(const Piece& piece, char* memory) const {
    StateSlice slice{piece.group, piece.begin, piece.count, {}};
    const std::vector<StateLayout>& states = groups_[piece.group].states;
    for (size_t k = 0; k < states.size(); ++k) {
      void* absmax = states[k].coded() ? memory + piece.absmax[k].in_page : nullptr;
      slice.views[k] =
          states[k].view(memory + piece.values[k].in_page, static_cast<float*>(absmax));
    }
    return slice;
  }

  void visit_pieces(const Page& page, char* memory, const std::vector<bool>& wanted,
                    const std::function<void(const StateSlice&)>& visit) const {
    for (const Piece& piece : page.pieces) {
      if (wanted[piece.group]) visit(slice_of(piece, memory));
    }
  }

  void start(Page& page) {
    char* memory = page.memory.defined() ? page.memory.data<char>() : buffer_of(0);
    for (const Piece& piece : page.pieces) {
      const StateSlice slice = slice_of(piece, memory);
      for (size_t k = 0; k < groups_[piece.group].states.size(); ++k) {
        groups_[piece.group].states[k].fill(slice.views[k].values, slice.views[k].absmax,
                                            piece.count);
      }
    }
    transfer(page, memory, true);
  }

  void transfer(const Page& page, char* memory, bool to_file) const {
    const auto move = [&](const Stretch& s) {
      if (s.bytes == 0) return;
      to_file ? file_.write(s.in_file, memory + s.in_page, s.bytes)
              : file_.read(s.in_file, memory + s.in_page, s.bytes);
    };
    for (const Piece& piece : page.pieces) {
      std::for_each(piece.values.begin(), piece.values.end(), move);
      std::for_each(piece.absmax.begin(), piece.absmax.end(), move);
    }
  }

  std::vector<StateGroup> groups_;
  std::vector<std::array<int64_t, kMaxStates>> values_at_, absmax_at_;  // in the file, by group
  int64_t file_bytes_ = 0;
  mutable PageFile file_;  // saving brings it up to date
  std::vector<Page> pages_;
  std::array<Tensor, kBuffers> buffers_;
  ErrandThread thread_;  // last: its errands use all of the above
};

}  // namespace

std::unique_ptr<StateStore> make_paged_states(const Ctx& ctx, std::vector<StateGroup> groups,
                                              const PagingOptions& paging) {
  int64_t all = 0;
  for (const StateGroup& group : groups) all += group.bytes(group.elements);
  if (!paging.paged || paging.budget <= 0 || all <= paging.budget) {
    return make_resident_states(ctx, std::move(groups));
  }
  return std::make_unique<PagedStates>(ctx, std::move(groups), paging);
}

}  // namespace nibble
