#include "cli/quant_report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace nibble {
namespace {

bool has_blocks(const QuantizedMatrix& m) { return rule_of(m.spec.format).coded; }

std::string scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

std::string padded(const std::string& text, size_t width) {
  return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
}

std::string row(const QuantizedMatrix& m) {
  const WeightReport& r = m.report;
  std::string line = name_of(m.spec.format);
  line.resize(std::max<size_t>(5, line.size()), ' ');
  line += padded(has_blocks(m) ? cat(m.spec.block) : "row", 6) + padded(fixed(r.bits, 3), 7);
  line += padded(scientific(r.absmax_low), 10) + padded(scientific(r.absmax_high), 10);
  line += r.measured ? padded(fixed(100 * r.relative_error, 2), 7) + padded(fixed(r.snr_db, 1), 6) +
                           padded(fixed(100 * r.worst_error, 1), 7) + padded(cat(r.worst_block), 8)
                     : std::string();
  return cat(line, "  ", m.name, "\n");
}

}  // namespace

Json quant_report_json(const std::vector<QuantizedMatrix>& matrices) {
  Json all = Json::array();
  for (const QuantizedMatrix& m : matrices) {
    Json one = {{"name", m.name}, {"type", name_of(m.spec.format)}, {"shape", {m.out, m.in}}};
    one["block"] = m.spec.block;
    if (has_blocks(m)) one["double_quant"] = m.spec.double_quant;
    one["bits_per_weight"] = m.report.bits;
    one["absmax"] = {m.report.absmax_low, m.report.absmax_high};
    if (m.report.measured) {
      one["relative_error"] = m.report.relative_error;
      one["snr_db"] = m.report.snr_db;
      one["worst_block"] = {{"index", m.report.worst_block},
                            {"relative_error", m.report.worst_error}};
    }
    all.push_back(std::move(one));
  }
  return all;
}

std::string quant_report_csv(const std::vector<QuantizedMatrix>& matrices) {
  std::string text =
      "name,type,out,in,block,double_quant,bits_per_weight,absmax_low,absmax_high,relative_error,"
      "snr_db,worst_block,worst_block_error\n";
  for (const QuantizedMatrix& m : matrices) {
    const WeightReport& r = m.report;
    text += cat(m.name, ",", name_of(m.spec.format), ",", m.out, ",", m.in, ",", m.spec.block, ",",
                has_blocks(m) && m.spec.double_quant, ",", r.bits, ",", r.absmax_low, ",",
                r.absmax_high);
    text += r.measured ? cat(",", r.relative_error, ",", r.snr_db, ",", r.worst_block, ",",
                             r.worst_error, "\n")
                       : std::string(",,,,\n");
  }
  return text;
}

std::string quant_report_table(const std::vector<QuantizedMatrix>& matrices) {
  if (matrices.empty()) return "";
  const bool measured = matrices[0].report.measured;
  std::string text = "type   block   bits   absmax from..to   ";
  text += measured ? " error%  SNR dB worst%  block  name\n" : " name\n";
  double bits = 0, weights = 0;
  for (const QuantizedMatrix& m : matrices) {
    text += row(m);
    const double n = static_cast<double>(m.out) * static_cast<double>(m.in);
    bits += m.report.bits * n;
    weights += n;
  }
  text += cat(matrices.size(), " matrices, ", human_count(static_cast<int64_t>(weights)),
              " weights, ", fixed(bits / weights, 3), " bits a weight\n");
  return text;
}

}  // namespace nibble
