// Stop strings in a stream of text. What may be the beginning of one is held back, so that no byte
// of a stop string ever leaves; how the text was cut into pieces changes nothing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nibble::serving {

class StopMatcher {
 public:
  StopMatcher() = default;
  // `include`: the stop string itself is released too.
  StopMatcher(std::vector<std::string> stops, bool include);

  // Text that may go out. The match that ends first wins, of those that end together the longest;
  // after it nothing more is released.
  std::string push(std::string_view text);
  std::string finish();  // no more text: what was held back
  bool stopped() const { return hit_ >= 0; }
  const std::string& reason() const { return stops_[static_cast<size_t>(hit_)]; }

 private:
  std::vector<std::string> stops_;
  bool include_ = false;
  std::string held_;  // at most the longest stop string less one byte
  int hit_ = -1;
};

}  // namespace nibble::serving
