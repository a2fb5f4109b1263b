// The regular expressions that published tokenizers cut text by, as their makers wrote them.
#pragma once

namespace nibble::text {

// GPT-3.5 and GPT-4 (cl100k), Llama 3, GLM-4: numbers in threes.
extern const char* const kCl100kPattern;
// GPT-4o: words with their capitals, the apostrophe's ending kept on the word.
extern const char* const kO200kPattern;

}  // namespace nibble::text
