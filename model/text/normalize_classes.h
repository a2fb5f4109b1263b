// Normalizers that keep, drop or replace single characters: BERT's cleaning, NMT's, accents.
#pragma once

#include <string>
#include <string_view>

namespace nibble::text {

std::string strip_accents(std::string_view text);     // drops combining marks
std::string strip_nonspacing(std::string_view text);  // drops category Mn
std::string clean_controls(std::string_view text);    // BERT: no controls, plain spaces
std::string space_chinese(std::string_view text);     // spaces around each ideograph
std::string nmt_clean(std::string_view text);         // SentencePiece's NMT rules

}  // namespace nibble::text
