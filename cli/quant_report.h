// The report on quantized matrices, as a table, JSON or CSV: `quantize` and `inspect` say the same.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "model/quantize.h"

namespace nibble {

Json quant_report_json(const std::vector<QuantizedMatrix>& matrices);
std::string quant_report_csv(const std::vector<QuantizedMatrix>& matrices);
// One line a matrix under a line of heads, and a line for all of them.
std::string quant_report_table(const std::vector<QuantizedMatrix>& matrices);

}  // namespace nibble
