// Matching and holding back stop strings.
#include "serving/stop.h"

#include <algorithm>
#include <utility>

#include "base/errors.h"

namespace nibble::serving {
namespace {

// Bytes at the end of `text` that begin `stop` without being all of it.
size_t begun(std::string_view text, std::string_view stop) {
  for (size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n)
    if (text.substr(text.size() - n) == stop.substr(0, n)) return n;
  return 0;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include)
    : stops_(std::move(stops)), include_(include) {
  for (const std::string& stop : stops_) check(!stop.empty(), "an empty stop string");
}

std::string StopMatcher::push(std::string_view text) {
  if (stopped()) return "";
  held_ += text;
  size_t end = std::string::npos, begin = 0;
  for (size_t i = 0; i < stops_.size(); ++i) {
    const size_t at = held_.find(stops_[i]);
    if (at == std::string::npos) continue;
    const size_t to = at + stops_[i].size();
    if (end != std::string::npos && (to > end || (to == end && at >= begin))) continue;
    begin = at;
    end = to;
    hit_ = static_cast<int>(i);
  }
  if (stopped()) return std::exchange(held_, "").substr(0, include_ ? end : begin);
  size_t keep = 0;
  for (const std::string& stop : stops_) keep = std::max(keep, begun(held_, stop));
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::finish() { return stopped() ? "" : std::exchange(held_, ""); }

}  // namespace nibble::serving
