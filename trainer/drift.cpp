#include "trainer/drift.h"

#include <algorithm>
#include <cmath>

#include "model/files/peft_tokens.h"
#include "model/files/provenance.h"
#include "model/text/tokenizer_fit.h"
#include "trainer/evaluate.h"

namespace nibble {
namespace {

Tensor logits_of(const Device& device, const Model& model, const Document& document) {
  Ctx ctx(device, model.options.compute);
  PackedBatch batch = pack(device.memory(), {document});
  ForwardContext context{ctx};
  context.packed = &batch.segments;
  context.adapters = {{0, 0, batch.segments.tokens}};
  return model.decoder->logits(ctx, model.decoder->hidden(context, batch.ids).value(),
                               context.adapters);
}

// ln of the sum of exp over a row.
double log_sum_exp(const float* row, int64_t n) {
  const double top = *std::max_element(row, row + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(row[i] - top);
  return top + std::log(sum);
}

void compare(const Tensor& a, const Tensor& b, const std::vector<int32_t>& ids, Drift& drift) {
  const int64_t rows = a.rows(), vocab = a.cols();
  for (int64_t r = 0; r < rows; ++r) {
    const float *x = a.data<float>() + r * vocab, *y = b.data<float>() + r * vocab;
    const double lx = log_sum_exp(x, vocab), ly = log_sum_exp(y, vocab);
    double kl = 0;
    for (int64_t i = 0; i < vocab; ++i) {
      drift.max_abs_logit = std::max(drift.max_abs_logit, std::abs(double{x[i]} - y[i]));
      kl += std::exp(x[i] - lx) * ((x[i] - lx) - (y[i] - ly));
    }
    drift.mean_kl += std::max(0.0, kl);
    if (r + 1 < rows) {
      const int32_t next = ids[static_cast<size_t>(r) + 1];
      drift.nll_unmerged += lx - x[next];
      drift.nll_merged += ly - y[next];
    }
  }
}

}  // namespace

Drift measure_drift(const Device& device, const std::string& base, const std::string& adapter,
                    const std::string& merged, const std::string& file) {
  LoadOptions options;
  options.compute = DType::f32;
  const Model after = load_model(device, merged, options);
  if (const auto provenance = read_provenance(adapter)) options.quant = provenance->quant;
  options.vocab = adapter_vocab(adapter);
  const Model before = load_model(device, base, options);
  load_adapter(adapter, *before.decoder, 0, false, device);
  std::unique_ptr<Tokenizer> tokenizer;
  const Blueprint& b = before.decoder->blueprint();
  if (Tokenizer::present(merged)) tokenizer = load_fitting_tokenizer(merged, b.vocab);
  const auto documents = read_scored_file(file, tokenizer.get(), b.max_positions, b.vocab);
  Drift drift;
  int64_t positions = 0;
  for (const Document& document : documents) {
    if (document.ids.empty()) continue;
    compare(logits_of(device, before, document), logits_of(device, after, document), document.ids,
            drift);
    positions += static_cast<int64_t>(document.ids.size());
    drift.tokens += static_cast<int64_t>(document.ids.size()) - 1;
  }
  drift.mean_kl /= static_cast<double>(std::max<int64_t>(positions, 1));
  drift.nll_unmerged /= static_cast<double>(std::max<int64_t>(drift.tokens, 1));
  drift.nll_merged /= static_cast<double>(std::max<int64_t>(drift.tokens, 1));
  return drift;
}

}  // namespace nibble
