// Sockets: who is noticed, who is cut, what limits hold, how the server ends.
#include <gmock/gmock.h>

#include <thread>

#include "base/text.h"
#include "tests/serving/http/script.h"

namespace nibble::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kBody = R"({"model":"tiny","prompt":"abc"})";
const std::string kStream = R"({"model":"tiny","prompt":"abc","stream":true})";
void nothing(const Request&) {}

TEST(Connection, ServesManyRequestsOneAfterTheOther) {
  ScriptedBackend backend;
  TestServer server(backend);
  Client client(server);
  for (int i = 0; i < 5; ++i) {
    client.send(post("/v1/completions", i % 2 == 0 ? kBody : kStream));
    EXPECT_EQ(client.read().status, 200);
    client.send(get("/nowhere"));
    EXPECT_EQ(client.read().status, 404);
  }
}

TEST(Connection, AnswersPipelinedRequestsInOrder) {
  ScriptedBackend backend;
  TestServer server(backend);
  Client client(server);
  std::string all;
  for (int i = 0; i < 20; ++i)
    all += get(i % 2 == 0 ? "/version" : "/v1/models") + post("/v1/completions", kStream);
  client.send(all);
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(client.read().body, HasSubstr(i % 2 == 0 ? "version" : "\"object\":\"list\""));
    EXPECT_EQ(client.read().data().back(), "[DONE]");
  }
}

TEST(Connection, ABodyMayComeInPiecesAndChunks) {
  ScriptedBackend backend;
  TestServer server(backend);
  Client client(server);
  const std::string request = post("/v1/completions", kBody);
  for (const char c : request) client.send(std::string(1, c));
  EXPECT_EQ(client.read().status, 200);
  client.send(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(client.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 100"));
  client.send("5\r\n" + kBody.substr(0, 5) + "\r\n1a\r\n" + kBody.substr(5, 26) + "\r\n0\r\n\r\n");
  EXPECT_EQ(client.read().status, 200);
}

TEST(Connection, AnOldClientGetsAStreamThatEndsWithTheConnection) {
  ScriptedBackend backend;
  TestServer server(backend);
  const Answered a =
      ask(server, cat("POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\n",
                      "Content-Length: ", kStream.size(), "\r\n\r\n", kStream));
  EXPECT_EQ(a.headers.count("transfer-encoding"), 0u);
  EXPECT_EQ(a.data().back(), "[DONE]");
}

TEST(Connection, AClientThatLeavesIsCancelledWhetherItStreamsOrWaits) {
  ScriptedBackend backend;
  backend.play = nothing;
  TestServer server(backend);
  size_t gone = 0;
  for (const bool reset : {false, true}) {
    for (const std::string& body : {kBody, kStream}) {
      Client client(server);
      client.send(post("/v1/completions", body));
      ASSERT_TRUE(backend.wait_seen(++gone));
      EXPECT_EQ(backend.cancelled().size(), gone - 1);
      reset ? client.reset() : client.leave();
      EXPECT_TRUE(backend.wait_cancelled(gone));
      EXPECT_EQ(backend.cancelled().back(), backend.seen().back().id);
    }
  }
}

TEST(Connection, AClientThatLeavesBehindPipelinedBytesIsNoticedToo) {
  ScriptedBackend backend;
  backend.play = nothing;
  TestServer server(backend);
  Client client(server);
  client.send(post("/v1/completions", kBody) + std::string(100'000, 'x'));
  ASSERT_TRUE(backend.wait_seen(1));
  client.leave();
  EXPECT_TRUE(backend.wait_cancelled(1));
}

TEST(Connection, AllChoicesOfAGoneClientAreCancelled) {
  ScriptedBackend backend;
  backend.play = nothing;
  TestServer server(backend);
  Client client(server);
  client.send(post("/v1/completions", R"({"model":"tiny","prompt":["a","b"],"n":3})"));
  ASSERT_TRUE(backend.wait_seen(6));
  client.leave();
  EXPECT_TRUE(backend.wait_cancelled(6));
}

TEST(Connection, ASlowReaderIsCutAndCancelled) {
  ScriptedBackend backend;
  std::atomic<bool> stop{false};
  std::thread talker;
  backend.play = [&](const Request& r) {
    talker = std::thread([&stop, r] {
      const std::string word(4000, 'x');
      for (int i = 0; i < 20'000 && !stop; ++i) {
        Event e;
        e.text = word;
        r.on_event(std::move(e));
        if (i % 100 == 99) std::this_thread::sleep_for(milliseconds(1));
      }
    });
  };
  TestServer server(backend);
  Client client(server, 4096);
  client.send(post("/v1/completions", kStream));
  EXPECT_TRUE(backend.wait_cancelled(1));
  stop = true;
  talker.join();
  EXPECT_EQ(ask(server, get("/health")).status, 200);
}

TEST(Connection, AStalledWriteIsCut) {
  ScriptedBackend backend;
  backend.play = [](const Request& r) {
    Event e = ending(r, FinishReason::stop);
    e.text.assign(30u << 20, 'x');
    r.on_event(std::move(e));
  };
  TestServer server(backend, [](auto&, auto& o) { o.write_stall = milliseconds(150); });
  Client client(server, 4096);
  client.send(post("/v1/completions", kBody));
  for (int i = 0; i < 1000 && server.server->answering() == 0; ++i)
    std::this_thread::sleep_for(milliseconds(5));
  for (int i = 0; i < 1000 && server.server->answering() != 0; ++i)
    std::this_thread::sleep_for(milliseconds(5));
  EXPECT_EQ(server.server->answering(), 0);
}

TEST(Connection, SilenceIsFilledWithComments) {
  ScriptedBackend backend;
  backend.play = nothing;
  TestServer server(backend, [](auto&, auto& o) { o.ping_every = milliseconds(30); });
  Client client(server);
  client.send(post("/v1/completions", kStream));
  EXPECT_THAT(client.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(client.read_until(": ping\n\n\r\n"), HasSubstr(": ping\n\n"));
  EXPECT_THAT(client.read_until(": ping\n\n\r\n"), HasSubstr(": ping\n\n"));
}

TEST(Connection, DawdlersAreClosed) {
  ScriptedBackend backend;
  TestServer server(backend, [](auto&, auto& o) {
    o.header_time = o.body_time = milliseconds(100);
    o.idle_time = milliseconds(200);
  });
  Client silent(server), head(server), body(server), idle(server);
  head.send("GET /health HT");
  body.send(post("/v1/completions", kBody).substr(0, 120));
  idle.send(get("/health"));
  EXPECT_EQ(idle.read().status, 200);
  for (Client* client : {&silent, &head, &body, &idle}) EXPECT_TRUE(client->closed_within(3000));
}

TEST(Connection, BigBodiesAre413) {
  ScriptedBackend backend;
  TestServer server(backend);
  const std::string head =
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  const Answered declared = ask(server, cat(head, "Content-Length: ", (32 << 20) + 1, "\r\n\r\n"));
  EXPECT_EQ(declared.status, 413);
  EXPECT_EQ(declared.json()["error"]["code"], "request_too_large");
  EXPECT_EQ(declared.headers.at("connection"), "close");

  TestServer small(backend, [](auto&, auto& o) { o.max_body = 1000; });
  EXPECT_EQ(ask(small, post("/v1/completions", std::string(1001, ' '))).status, 413);
  EXPECT_EQ(ask(small, cat(head, "Transfer-Encoding: chunked\r\n\r\n3ea\r\n",
                           std::string(1002, ' '), "\r\n0\r\n\r\n"))
                .status,
            413);
  EXPECT_EQ(
      ask(small, post("/v1/completions", kBody + std::string(1000 - kBody.size(), ' '))).status,
      200);
}

TEST(Connection, BigHeadersAre431) {
  ScriptedBackend backend;
  TestServer server(backend);
  EXPECT_EQ(ask(server, get("/health", cat("X: ", std::string(40'000, 'x'), "\r\n"))).status, 431);
  EXPECT_EQ(ask(server, cat("GET /", std::string(40'000, 'x'), " HTTP/1.1\r\n\r\n")).status, 431);
  std::string many;
  for (int i = 0; i < 100; ++i) many += cat("X-", i, ": y\r\n");
  EXPECT_EQ(ask(server, get("/health", many)).status, 431);
  EXPECT_EQ(ask(server, get("/health", many.substr(0, many.size() - 9))).status, 200);
}

TEST(Connection, NonsenseIs400) {
  ScriptedBackend backend;
  TestServer server(backend);
  for (const char* text :
       {"nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        "Transfer-Encoding: chunked\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n"})
    EXPECT_EQ(ask(server, text).status, 400) << text;
}

TEST(Connection, HeadIsAnsweredWithoutABody) {
  ScriptedBackend backend;
  TestServer server(backend);
  Client client(server);
  client.send("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/version"));
  const std::string head = client.read_until("\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("Content-Length: 15\r\n"));
  EXPECT_THAT(client.read().body, HasSubstr("0.0.0-test"));
}

TEST(Connection, RequestIdsComeBackWhenTheyAreHarmless) {
  ScriptedBackend backend;
  TestServer server(backend);
  EXPECT_EQ(ask(server, get("/health", "X-Request-Id: abc-7\r\n")).headers.at("x-request-id"),
            "abc-7");
  EXPECT_THAT(ask(server, get("/health", "X-Request-Id: a b\r\n")).headers.at("x-request-id"),
              StartsWith("req-"));
}

TEST(Connection, DrainingFinishesWhatRunsAndRefusesTheRest) {
  ScriptedBackend backend;
  backend.play = nothing;
  TestServer server(backend);
  Client running(server);
  running.send(post("/v1/completions", kStream));
  ASSERT_TRUE(backend.wait_seen(1));
  EXPECT_EQ(ask(server, get("/readyz")).status, 200);
  bool done = false;
  std::thread drain([&] { done = server.server->drain(milliseconds(10'000)); });
  while (!server.service->draining()) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(ask(server, get("/readyz")).status, 503);
  EXPECT_EQ(ask(server, get("/health")).status, 503);
  EXPECT_EQ(ask(server, get("/livez")).status, 200);
  const Answered refused = ask(server, post("/v1/completions", kBody));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("connection"), "close");
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  say(backend.seen().at(0), "ok");
  EXPECT_EQ(running.read().data().back(), "[DONE]");
  drain.join();
  EXPECT_TRUE(done);
  EXPECT_TRUE(backend.cancelled().empty());
}

TEST(Connection, StoppingTellsWhoStillWaits) {
  ScriptedBackend backend;
  backend.play = nothing;
  TestServer server(backend);
  Client streams(server), waits(server), idle(server);
  streams.send(post("/v1/completions", kStream));
  waits.send(post("/v1/completions", kBody));
  idle.send(get("/health"));
  EXPECT_EQ(idle.read().status, 200);
  ASSERT_TRUE(backend.wait_seen(2));
  EXPECT_FALSE(server.server->drain(milliseconds(20)));
  server.server->stop();
  const auto data = streams.read().data();
  ASSERT_EQ(data.size(), 2u);
  EXPECT_THAT(data[0], StartsWith(R"({"error":)"));
  EXPECT_EQ(data[1], "[DONE]");
  EXPECT_EQ(waits.read().status, 503);
  EXPECT_EQ(backend.cancelled().size(), 2u);
  // Late words of the engine find nobody and do no harm.
  for (const Request& r : backend.seen()) say(r, "late");
}

TEST(Connection, ATakenPortIsTheUsersMistake) {
  ScriptedBackend backend;
  TestServer server(backend);
  serving::http::ServerOptions same;
  same.port = server.server->port();
  serving::http::Service service(backend, {});
  serving::http::Server second(service, same);
  try {
    second.start();
    FAIL() << "the port was taken";
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), Exit::cannot_create);
    EXPECT_THAT(e.hint(), HasSubstr("--port"));
  }
}

TEST(Connection, ManyClientsAtOnceAllGetTheirAnswers) {
  ScriptedBackend backend;
  TestServer server(backend);
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        Client client(server);
        client.send(post("/v1/completions", (i + t) % 2 == 0 ? kBody : kStream));
        if (i % 5 == 4) continue;  // leaves at once
        const Answered a = client.read();
        good += a.status == 200 && !a.body.empty();
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(good, 8 * 20);
}

}  // namespace
}  // namespace nibble::testing
