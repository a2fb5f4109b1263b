// Documents one behind another: no padding, positions that restart, labels shifted by one.
#include "model/model.h"

namespace nibble {

PackedBatch pack(Memory& memory, const std::vector<Document>& documents) {
  int64_t tokens = 0;
  for (const Document& d : documents) tokens += static_cast<int64_t>(d.ids.size());
  PackedBatch batch;
  auto make = [&](int64_t n, DType t) {
    return Tensor::empty(memory, {n}, t, Purpose::activation);
  };
  batch.ids = make(tokens, DType::i32);
  batch.labels = make(tokens, DType::i32);
  Segments& s = batch.segments;
  s.tokens = tokens;
  s.count = static_cast<int64_t>(documents.size());
  s.positions = make(tokens, DType::i32);
  s.samples = make(tokens, DType::i64);
  s.cu = make(s.count + 1, DType::i32);
  for (const Document& d : documents)
    if (!d.token_types.empty() && !s.token_types.defined())
      s.token_types = Tensor::zeros(memory, {tokens}, DType::i32, Purpose::activation);
  int64_t at = 0;
  for (size_t d = 0; d < documents.size(); ++d) {
    const Document& document = documents[d];
    s.cu.data<int32_t>()[d] = static_cast<int32_t>(at);
    const size_t n = document.ids.size();
    for (size_t i = 0; i < n; ++i, ++at) {
      batch.ids.data<int32_t>()[at] = document.ids[i];
      s.positions.data<int32_t>()[at] =
          document.positions.empty() ? static_cast<int32_t>(i) : document.positions[i];
      s.samples.data<int64_t>()[at] = document.sample;
      if (!document.token_types.empty())
        s.token_types.data<int32_t>()[at] = document.token_types[i];
      // The label of position i + 1 is the target of token i; a document's last token has none.
      int32_t target = -100;
      if (i + 1 < n && !document.labels.empty()) target = document.labels[i + 1];
      batch.labels.data<int32_t>()[at] = target;
      batch.target_tokens += target >= 0;
    }
  }
  s.cu.data<int32_t>()[documents.size()] = static_cast<int32_t>(at);
  return batch;
}

}  // namespace nibble
