// AdamW with fp32 states.
#include "kernels/cpu/adamw_rule.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {

void adamw(Stream& stream, int64_t n, const AdamWStep& step, float* p, const float* g, float* m,
           float* v) {
  const AdamWFactors f(step);
  stream.pool().parallel_for(n, 16384, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float grad = g[i] * f.grad_scale;
      m[i] = f.first(m[i], grad);
      v[i] = f.second(v[i], grad);
      p[i] = f.moved(p[i], m[i], std::sqrt(v[i]));
    }
  });
}

}  // namespace nibble::cpu::scalar
