// nibble doctor: what this machine has, what nibble uses of it, and why not the rest.
#include <dlfcn.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "cli/command_line.h"
#include "cli/version.h"
#include "kernels/device.h"
#include "kernels/machine_memory.h"

namespace nibble {
namespace {

bool library_found(const char* name) {
  void* handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr) return false;
  dlclose(handle);
  return true;
}

// Why there is no GPU backend here: this build has none, whatever the driver.
std::string gpu_line() {
  if (library_found("libcuda.so.1"))
    return "not used: this build has no CUDA backend yet (a driver is loaded)";
  return "none: no NVIDIA driver is loaded (libcuda.so.1 not found); this build has no CUDA "
         "backend yet";
}

}  // namespace

int run_doctor(const std::vector<std::string>& arguments) {
  CommandLine line("doctor", "say what this machine has and what nibble will use", "[--json]");
  bool json = false;
  line.flags().heading("Output");
  line.flags().field("json", json, "one JSON object");
  if (!line.parse(arguments)) return 0;

  const CpuFeatures& cpu = cpu_features();
  const TierChoice choice = choose_cpu_tier();
  const int threads = usable_cpus();
  const MachineMemory memory = machine_memory();
  const int64_t available = memory.available, total = memory.total;
  if (json) {
    Json out = {{"version", version()},
                {"commit", commit()},
                {"build_type", build_type()},
                {"cpu",
                 {{"brand", cpu.brand},
                  {"features", cpu.names()},
                  {"tier", name_of(choice.tier)},
                  {"why", choice.why},
                  {"threads", threads}}},
                {"memory", {{"available_bytes", available}, {"total_bytes", total}}},
                {"gpu", {{"used", false}, {"why", gpu_line()}}},
                {"libraries", Json::object()}};
    std::printf("%s\n", dump_json(out, 2).c_str());
    return 0;
  }
  std::printf("version   %s\n", version_text().c_str());
  std::printf("cpu       %s\n", cpu.brand.c_str());
  std::printf("          x86-64, %d thread%s\n", threads, threads == 1 ? "" : "s");
  std::string features;
  for (const std::string& name : cpu.names()) {
    if (features.size() + name.size() > 68) {
      std::printf("          %s\n", features.c_str());
      features.clear();
    }
    features += name + " ";
  }
  std::printf("          %s\n", features.c_str());
  std::printf("          → tier %s\n", choice.why.c_str());
  std::printf("memory    %s of %s free, huge pages on request\n", human_bytes(available).c_str(),
              human_bytes(total).c_str());
  std::printf("gpu       %s\n", gpu_line().c_str());
  std::printf("libraries all linked in; nothing else is looked up on the CPU\n");
  std::printf("ok\n");
  return 0;
}

}  // namespace nibble
