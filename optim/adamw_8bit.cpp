// AdamW with blockwise 8-bit states (Dettmers et al. 2022), 256 elements a block. The second moment
// is kept as codes of sqrt(v): they span twice the decades of v's, and a positive v never becomes
// 0, so m / sqrt(v) cannot explode.
#include "optim/adamw.h"

namespace nibble {

std::unique_ptr<Optimizer> make_adamw_8bit(const Ctx& ctx, const OptimizerOptions& o,
                                           std::vector<Parameter*> parameters) {
  StateFormat format;
  format.dtype = DType::u8;
  return std::make_unique<AdamW>(ctx, o, std::move(parameters), format);
}

}  // namespace nibble
