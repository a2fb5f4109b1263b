// Rounds on one thread and on all of them take turns, so that a slow moment of the machine meets
// both; the median of each is reported.
#include "cli/bench_tokenize.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "cli/bench_text.h"
#include "cli/command_line.h"
#include "model/text/encode_batch.h"
#include "trainer/json_lines.h"

namespace nibble {
namespace {

constexpr size_t kDocument = 8192;  // a text file is cut at the first end of line behind so much

std::vector<std::string> read_documents(const std::string& path) {
  std::vector<std::string> documents;
  if (ends_with(path, ".jsonl")) {
    for_each_json_line(path, [&](const Json& row, const std::string& where) {
      const auto text = row.is_object() ? row.find("text") : row.end();
      if (!row.is_object() || text == row.end() || !text->is_string())
        throw UserError(where, "has no 'text'", "one {\"text\": …} a line", Exit::bad_data);
      documents.push_back(text->get<std::string>());
    });
  } else {
    const std::string text = read_file(path);
    for (size_t at = 0; at < text.size();) {
      const size_t line = text.find('\n', std::min(at + kDocument, text.size()));
      const size_t end = line == std::string::npos ? text.size() : line + 1;
      documents.push_back(text.substr(at, end - at));
      at = end;
    }
  }
  if (documents.empty())
    throw UserError(path, "holds no text", "name a file with text in it", Exit::bad_data);
  return documents;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Of all threads: what a machine that others use too cannot stretch.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

struct Speed {
  int threads = 1;
  std::unique_ptr<ThreadPool> pool;
  std::vector<double> seconds, cpu;
};

void write_ids(const std::string& path, const std::vector<std::vector<int32_t>>& documents) {
  OutputFile out(path);
  for (const auto& ids : documents) {
    out.write(ids.data(), static_cast<int64_t>(ids.size() * sizeof(int32_t)));
  }
  out.commit();
}

struct Totals {
  int64_t documents = 0, bytes = 0, tokens = 0;
  double load_seconds = 0;
  double first_cpu_seconds = 0;  // one thread, nothing in its caches yet
};

void print_json(const Totals& t, const std::vector<Speed>& speeds) {
  Json runs = Json::array();
  for (const Speed& s : speeds) {
    const double seconds = median(s.seconds);
    runs.push_back({{"threads", s.threads},
                    {"seconds", seconds},
                    {"cpu_seconds", median(s.cpu)},
                    {"mb_per_s", static_cast<double>(t.bytes) / 1e6 / seconds},
                    {"tokens_per_s", static_cast<double>(t.tokens) / seconds}});
  }
  const Json out = {{"documents", t.documents},
                    {"bytes", t.bytes},
                    {"tokens", t.tokens},
                    {"load_seconds", t.load_seconds},
                    {"first_cpu_seconds", t.first_cpu_seconds},
                    {"runs", runs}};
  std::printf("%s\n", dump_json(out, 2).c_str());
}

void print_table(const Totals& t, const std::vector<Speed>& speeds) {
  std::printf(
      "text      %s documents, %s bytes, %s tokens (%s bytes a token)\n",
      human_count(t.documents).c_str(), human_count(t.bytes).c_str(), human_count(t.tokens).c_str(),
      fixed(static_cast<double>(t.bytes) / static_cast<double>(std::max<int64_t>(t.tokens, 1)), 2)
          .c_str());
  std::printf("loading   %s\n", human_duration(t.load_seconds).c_str());
  for (const Speed& s : speeds) {
    const double seconds = median(s.seconds);
    std::printf("%-9s %8s MB/s %8s M tokens/s\n",
                cat(s.threads, s.threads == 1 ? " thread" : " threads").c_str(),
                fixed(static_cast<double>(t.bytes) / 1e6 / seconds, 1).c_str(),
                fixed(static_cast<double>(t.tokens) / 1e6 / seconds, 2).c_str());
  }
}

}  // namespace

int run_bench_tokenize(const std::vector<std::string>& arguments) {
  CommandLine line("bench tokenize", "measure a tokenizer", "TOKENIZER [--file F] [--threads N]");
  std::string directory, file, ids_file;
  int64_t threads = 0, rounds = 5, megabytes = 8;
  bool json = false;
  line.positional("TOKENIZER", directory, "a directory with tokenizer files");
  Settings& f = line.flags();
  f.heading("Text");
  f.field("file", file, ".jsonl: each row's text; else cut at line ends into documents of 8 KB")
      .placeholder("FILE");
  f.field("megabytes", megabytes, "how much text to make up without --file").range(at_least(1));
  f.heading("Measuring");
  f.field("threads", threads, "beside one thread; 0: what this process may use")
      .range(between(0, 1024));
  f.field("rounds", rounds, "each on all documents; the median counts").range(at_least(1));
  f.heading("Output");
  f.field("ids", ids_file, "write the ids of all documents here, 32 bits each, little-endian")
      .placeholder("FILE");
  f.field("json", json, "one JSON object");
  line.example("nibble bench tokenize model/");
  line.example("nibble bench tokenize model/ --file train.jsonl --threads 8 --json");
  if (!line.parse(arguments)) return 0;

  Totals totals;
  const auto begin = std::chrono::steady_clock::now();
  const auto tokenizer = Tokenizer::load(directory);
  totals.load_seconds = seconds_since(begin);
  const std::vector<std::string> documents =
      file.empty() ? make_text_mix(megabytes * 1'000'000, 0) : read_documents(file);
  const std::vector<std::string_view> texts(documents.begin(), documents.end());

  std::vector<Speed> speeds(1);
  const int most = threads > 0 ? static_cast<int>(threads) : usable_cpus();
  if (most > 1) speeds.emplace_back().threads = most;
  std::vector<std::vector<int32_t>> ids;
  for (Speed& s : speeds) {
    s.pool = std::make_unique<ThreadPool>(s.threads);
    const double cpu = cpu_seconds();
    ids = encode_batch(*tokenizer, texts, {}, *s.pool);  // fills caches
    if (s.threads == 1) totals.first_cpu_seconds = cpu_seconds() - cpu;
  }
  for (int64_t round = 0; round < rounds; ++round) {
    for (Speed& s : speeds) {
      const auto start = std::chrono::steady_clock::now();
      const double cpu = cpu_seconds();
      encode_batch(*tokenizer, texts, {}, *s.pool);
      s.cpu.push_back(cpu_seconds() - cpu);
      s.seconds.push_back(seconds_since(start));
    }
  }
  totals.documents = static_cast<int64_t>(documents.size());
  for (const std::string& d : documents) totals.bytes += static_cast<int64_t>(d.size());
  for (const auto& d : ids) totals.tokens += static_cast<int64_t>(d.size());
  if (!ids_file.empty()) write_ids(ids_file, ids);
  json ? print_json(totals, speeds) : print_table(totals, speeds);
  return 0;
}

}  // namespace nibble
