// The files of a tokenizer among those of a model or an adapter.
#pragma once

#include <string>
#include <vector>

namespace nibble {

// Their names in a directory, as any Hugging Face tokenizer may be kept; none where there is none.
std::vector<std::string> tokenizer_files(const std::string& directory);

}  // namespace nibble
