import HeraldCore
import Testing

@testable import Herald

/// What a token lets its owner do, through the whole service.
@Suite struct RightsTests {
    /// A token that may publish to and subscribe to what lies directly under `a`.
    private func narrow(_ service: RunningService) async throws -> String {
        try await service.token {
            $0.publish = ["a/*"]
            $0.subscribe = ["a/*"]
        }
    }

    // MARK: Publishing

    @Test func `a topic in the path has to be granted`() async throws {
        try await RunningService.run { service in
            let token = try await narrow(service)
            #expect(await service.ask("POST /v1/events/a/1", as: token, body: "1").status == 201)
            for topic in ["b/1", "a", "a/1/2"] {
                let answer = await service.ask("POST /v1/events/\(topic)", as: token, body: "1")
                #expect(answer.status == 403 && answer.problem == "forbidden", "\(answer.text)")
                #expect(answer.challenge == Problem.Challenge.insufficient.rawValue)
                #expect(answer.body.contains("publish to \\\"\(topic)\\\""))
                #expect(try service.state(of: topic) == nil)
            }
            let all = try await service.token()
            #expect(await service.ask("POST /v1/events/b/1", as: all, body: "1").status == 201)
            #expect(await service.ask("POST /v1/events/~own", as: all, body: "1").status == 400)
        }
    }

    @Test func `what is for everybody needs no token, the rest is asked for`() async throws {
        try await RunningService.run(with: { settings, _ in settings.anonymousPublish = ["open/*"] }) { service in
            #expect(await service.ask("POST /v1/events/open/1", body: "1").status == 201)
            let answer = await service.ask("POST /v1/events/a/1", body: "1")
            #expect(answer.status == 401 && answer.problem == "unauthorized")
            #expect(answer.challenge == Problem.Challenge.missing.rawValue)
            #expect(try service.state(of: "a/1") == nil)
            // A token grants what it says and nothing more.
            let token = try await narrow(service)
            #expect(await service.ask("POST /v1/events/open/1", as: token, body: "1").status == 403)
        }
    }

    @Test(arguments: [
        ("application/json", #"[{"topic":"a/1","data":1},{"topic":"b/1","data":2},{"topic":"a/2","data":3}]"#),
        (
            "application/x-ndjson",
            "{\"topic\":\"a/1\",\"data\":1}\n{\"topic\":\"b/1\",\"data\":2}\n{\"topic\":\"a/2\",\"data\":3}\n"
        ),
        (
            "application/cloudevents-batch+json",
            #"[{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"a/1","data":1},"#
                + #"{"specversion":"1.0","id":"2","source":"s","type":"t","subject":"b/1","data":2}]"#
        ),
    ])
    func `one topic that is not granted keeps back a whole batch`(type: String, body: String) async throws {
        try await RunningService.run { service in
            let headers = ["Content-Type: \(type)"]
            let answer = await service.ask(
                "POST /v1/events", as: try await narrow(service), headers: headers, body: body)
            #expect(answer.status == 403 && answer.problem == "forbidden", "\(answer.text)")
            #expect(answer.body.contains("\"index\":1"), "\(answer.body)")
            #expect(answer.body.contains("\"line\":2") == (type == "application/x-ndjson"), "\(answer.body)")
            #expect(answer.body.contains("b/1") && answer.body.contains("nothing was published"))
            for topic in ["a/1", "b/1", "a/2"] { #expect(try service.state(of: topic) == nil) }
            let all = await service.ask(
                "POST /v1/events", as: try await service.token(), headers: headers, body: body)
            #expect(all.status == 201, "\(all.text)")
        }
    }

    @Test func `a CloudEvent is published where it is granted`() async throws {
        try await RunningService.run { service in
            let token = try await narrow(service)
            func event(_ subject: String) -> String {
                #"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"\#(subject)","data":1}"#
            }
            let structured = ["Content-Type: application/cloudevents+json"]
            let binary = ["ce-specversion: 1.0", "ce-id: 1", "ce-source: s", "ce-type: t"]
            for (topic, status) in [("a/1", 201), ("b/1", 403)] {
                for (line, headers, body) in [
                    ("POST /v1/events", structured, event(topic)), ("POST /v1/events/\(topic)", binary, "1"),
                ] {
                    let answer = await service.ask(line, as: token, headers: headers, body: body)
                    #expect(answer.status == status, "\(line) \(answer.text)")
                    #expect(!answer.body.contains("\"index\""), "one event is no list")
                }
            }
            // The path names the topic, whatever the event says it is about.
            let other = await service.ask("POST /v1/events/a/2", as: token, headers: structured, body: event("b/2"))
            #expect(try service.state(of: "b/2") == nil, "\(other.text)")
            let hidden = await service.ask("POST /v1/events/b/2", as: token, headers: structured, body: event("a/2"))
            #expect(hidden.status == 403)
            #expect(try service.state(of: "b/2") == nil)
        }
    }

    @Test func `nobody gets the answer to another's key`() async throws {
        try await RunningService.run { service in
            let header = ["Idempotency-Key: k"]
            var answers: [Answer] = []
            for subject in ["alice", "bob", "alice"] {
                let token = try await service.token { $0.subject = subject }
                answers.append(await service.ask("POST /v1/events/a/1", as: token, headers: header, body: "1"))
            }
            #expect(answers.map(\.status) == [201, 201, 200])
            #expect(answers[0].body == answers[2].body && answers[0].body != answers[1].body)
            #expect(try service.state(of: "a/1")?.published == 2)
            // What is not granted uses up no key.
            let narrow = try await service.token { $0.publish = ["b/*"] }
            let refused = await service.ask("POST /v1/events/a/1", as: narrow, headers: header, body: "1")
            #expect(refused.status == 403)
        }
    }

    // MARK: Reading

    @Test func `a filter has to be granted as a whole`() async throws {
        try await RunningService.run { service in
            let token = try await narrow(service)
            for accept in ["text/event-stream", "application/json"] {
                for (target, named) in [
                    ("b/1", "b/1"), ("a/**", "a/**"), ("**", "**"), ("a/1?topic=b/1", "b/1"), ("*/1", "*/1"),
                ] {
                    let answer = await service.ask(
                        "GET /v1/events/\(target)", as: token, headers: ["Accept: \(accept)"])
                    #expect(answer.status == 403 && answer.body.contains("\\\"\(named)\\\""), "\(answer.text)")
                }
            }
            #expect(await service.ask("GET /v1/events?topic=a/1&topic=b/1", as: token).status == 403)
            #expect(await service.ask("GET /v1/events?topic=a/1&topic=a/*", as: token).status == 200)
            #expect(await service.ask("GET /v1/events/a/1").status == 401)
            #expect(service.access.counts.admissions.readers == 0)
        }
    }

    @Test func `commands of a WebSocket are held against its token`() async throws {
        try await RunningService.run { service in
            let socket = await service.webSocket("/v1/events/a/1", as: try await narrow(service))
            socket.say(#"{"op":"publish","ref":1,"topic":"a/1","data":1}"#)
            #expect((await socket.message(holding: "\"ref\":1")).contains("\"published\""))
            socket.say(#"{"op":"publish","ref":2,"topic":"b/1","data":1}"#)
            let publish = await socket.message(holding: "\"ref\":2")
            #expect(publish.contains("\"error\"") && publish.contains("/problems/forbidden"), "\(publish)")
            #expect(try service.state(of: "b/1") == nil)
            socket.say(#"{"op":"subscribe","ref":3,"topics":["a/2","a/*"]}"#)
            #expect((await socket.message(holding: "\"ref\":3")).contains("\"subscribed\""))
            socket.say(#"{"op":"subscribe","ref":4,"topics":["a/3","b/1"]}"#)
            let subscribe = await socket.message(holding: "\"ref\":4")
            #expect(subscribe.contains("/problems/forbidden") && subscribe.contains("b/1"), "\(subscribe)")
            // Nothing of that was subscribed to.
            socket.say(#"{"op":"unsubscribe","ref":5,"topic":"a/3"}"#)
            #expect((await socket.message(holding: "\"ref\":5")).contains("/problems/not-found"))
        }
    }

    @Test func `commands stop with the token, though the connection is there for a moment more`() async throws {
        try await RunningService.run { service in
            let commands = [
                #"{"op":"publish","topic":"a/1","data":1}"#, #"{"op":"subscribe","topic":"a/2"}"#,
            ]
            let token = try await service.token {
                $0.tokenID = "1"
                $0.expiry = TestTokens.now + 100
            }
            let socket = await service.webSocket("/v1/events/a/*", as: token)
            service.clock.set(100)
            for command in commands {
                socket.say(command)
                #expect((await socket.message(holding: "error")).contains("/problems/expired-token"))
            }
            service.clock.set(0)
            // Added behind the server's back, so that it does not end the connection.
            let entry = Revocations.Entry(target: .token("1"), issuedUntil: 0, keptUntil: TestTokens.now + 1000)
            #expect(service.access.revocations.add(entry, at: TestTokens.now))
            for command in commands {
                socket.say(command)
                #expect((await socket.message(holding: "error")).contains("/problems/revoked-token"))
            }
            #expect(try service.state(of: "a/1") == nil)
        }
    }

    @Test func `a WebSocket without a filter is of use to who may do something`() async throws {
        try await RunningService.run { service in
            let upgrade = [
                "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ]
            let nothing = try await service.token {
                $0.publish = []
                $0.subscribe = []
            }
            for (token, status) in [(nil, 401), (nothing, 403)] as [(String?, Int)] {
                let client = TestClient(port: service.port)
                client.request("GET /v1/events", upgrade + (token.map { ["Authorization: Bearer \($0)"] } ?? []))
                #expect(Answer(await client.read(until: "\"detail\"")).status == status)
            }
            let publisher = try await service.token { $0.subscribe = [] }
            let socket = await service.webSocket("/v1/events", as: publisher)
            socket.say(#"{"op":"publish","topic":"a/1","data":1}"#)
            _ = await socket.message(holding: "\"published\"")
        }
    }

    // MARK: Topics

    @Test func `a purge needs the right to manage`() async throws {
        try await RunningService.run { service in
            let all = try await service.token()
            for topic in ["a/1", "b/1"] {
                #expect(await service.ask("POST /v1/events/\(topic)", as: all, body: "1").status == 201)
            }
            let manager = try await service.token {
                $0.publish = []
                $0.subscribe = []
                $0.manage = ["a/*"]
            }
            #expect(await service.ask("DELETE /v1/topics/a/1", as: all).status == 403)
            #expect(await service.ask("DELETE /v1/topics/a/1").status == 401)
            #expect(await service.ask("DELETE /v1/topics/b/1", as: manager).status == 403)
            #expect(await service.ask("DELETE /v1/topics/b/2", as: manager).status == 403, "nor whether it is there")
            #expect(try service.state(of: "a/1")?.retained == 1)
            #expect(await service.ask("DELETE /v1/topics/a/1", as: manager).status == 204)
            #expect(try service.state(of: "a/1")?.retained == 0)
            #expect(try service.state(of: "b/1")?.retained == 1)
            #expect(await service.ask("DELETE /v1/topics/a/2", as: manager).status == 404)
        }
    }

    @Test func `the state of a topic is for those who may read it`() async throws {
        try await RunningService.run { service in
            let all = try await service.token()
            for topic in ["a/1", "b/1"] {
                #expect(await service.ask("POST /v1/events/\(topic)", as: all, body: "1").status == 201)
            }
            let token = try await narrow(service)
            #expect(await service.ask("GET /v1/topics/a/1", as: token).status == 200)
            #expect(await service.ask("GET /v1/topics/a/2", as: token).status == 404)
            for topic in ["b/1", "b/2"] {
                #expect(await service.ask("GET /v1/topics/\(topic)", as: token).status == 403)
                #expect(await service.ask("GET /v1/topics/\(topic)").status == 401)
            }
        }
    }

    /// The names in a list of topics, and what follows.
    private func page(_ answer: Answer) throws -> (names: [String], next: String?) {
        let json = try JSONValue(parsing: Array(answer.body.utf8))
        let topics = try #require(json["topics"]?.asList)
        return (topics.compactMap { $0["topic"]?.asText }, json["next"]?.asText)
    }

    @Test func `topics are listed to those who may read them, and pages end where these do`() async throws {
        try await RunningService.run { service in
            let all = try await service.token()
            for topic in ["a/1", "a/2", "a/2/x", "a/3", "a/4", "a/5", "b/1", "z"] {
                #expect(await service.ask("POST /v1/events/\(topic)", as: all, body: "1").status == 201)
            }
            let token = try await narrow(service)
            for limit in 1...7 {
                var names: [String] = []
                var after = ""
                var pages = 0
                repeat {
                    let page = try page(
                        await service.ask("GET /v1/topics?limit=\(limit)&after=\(after)", as: token))
                    names += page.names
                    after = page.next ?? ""
                    pages += 1
                } while !after.isEmpty && pages < 20
                #expect(names == ["a/1", "a/2", "a/3", "a/4", "a/5"])
                #expect(pages == (5 + limit - 1) / limit, "no page is empty")
            }
            #expect(try page(await service.ask("GET /v1/topics?prefix=b", as: token)).names == [])
            #expect(try page(await service.ask("GET /v1/topics?prefix=a/2", as: token)).names == ["a/2"])
            #expect(try page(await service.ask("GET /v1/topics?prefix=a/2", as: all)).names == ["a/2", "a/2/x"])
            let blind = try await service.token { $0.subscribe = [] }
            #expect(await service.ask("GET /v1/topics", as: blind).status == 403)
            #expect(await service.ask("GET /v1/topics").status == 401)
        }
    }

    @Test func `the server's own topics are told to who asks for them`() async throws {
        func open(_ settings: inout ServerSettings, _ files: TestFiles) { settings.tokenSecretFile = nil }
        try await RunningService.run(with: open) { service in
            #expect(!service.access.isOn)
            #expect(await soon { (try? service.state(of: "~herald/probe")) != nil })
            #expect(await service.ask("POST /v1/events/a", body: "1").status == 201)
            let first = try page(await service.ask("GET /v1/topics?limit=1"))
            #expect(first.names == ["a"] && first.next == nil)
            #expect(try page(await service.ask("GET /v1/topics?prefix=~")).names == ["~herald/probe"])
        }
        try await RunningService.run { service in
            #expect(await soon { (try? service.state(of: "~herald/probe")) != nil })
            let all = try await service.token()
            #expect(try page(await service.ask("GET /v1/topics?prefix=~", as: all)).names == [])
            let own = try await service.token { $0.subscribe = ["~herald/*"] }
            #expect(try page(await service.ask("GET /v1/topics?prefix=~", as: own)).names == ["~herald/probe"])
        }
    }

    // MARK: Revoking

    @Test func `who may manage everything may revoke`() async throws {
        try await RunningService.run { service in
            let manager = try await service.token {
                $0.subject = "root"
                $0.manage = ["**"]
            }
            let some = try await service.token { $0.manage = ["a/**", "*/**"] }
            let victim = try await service.token {
                $0.tokenID = "7"
                $0.issuedAt = TestTokens.now
            }
            let line = "POST /v1/revocations"
            #expect(await service.ask(line, body: #"{"jti":"7"}"#).status == 401)
            #expect(await service.ask(line, as: some, body: #"{"jti":"7"}"#).status == 403)
            #expect(await service.ask(line, as: manager, body: #"{"jti":7}"#).status == 422)
            #expect(await service.ask("\(line)?x=1", as: manager, body: #"{"jti":"7"}"#).status == 400)
            #expect(await service.ask("GET /v1/events/a", as: victim).status == 200)
            let reader = await service.stream(as: victim)
            let done = await service.ask(line, as: manager, body: #"{"jti":"7"}"#)
            #expect(done.status == 201, "\(done.text)")
            #expect(done.body == #"{"jti":"7","until":\#(TestTokens.now + 86_400)}"#)
            #expect((await reader.rest()).contains("revoked-token"))
            #expect(await service.ask("GET /v1/events/a", as: victim).problem == "revoked-token")
            // All that a subject was given until now.
            #expect(await service.ask(line, as: manager, body: #"{"sub":"alice"}"#).status == 201)
            let earlier = try await service.token()
            #expect(await service.ask("GET /v1/events/a", as: earlier).problem == "revoked-token")
            let later = try await service.token { $0.issuedAt = TestTokens.now + 1 }
            #expect(await service.ask("GET /v1/events/a", as: later).status == 200)
            #expect(await service.ask("GET /v1/events/a", as: manager).status == 200)
        }
    }

    @Test func `there are as many revocations as may be, and none without access control`() async throws {
        try await RunningService.run(with: { settings, _ in settings.maxRevocations = 1 }) { service in
            let manager = try await service.token { $0.manage = ["**"] }
            let line = "POST /v1/revocations"
            #expect(await service.ask(line, as: manager, body: #"{"jti":"1"}"#).status == 201)
            let full = await service.ask(line, as: manager, body: #"{"jti":"2"}"#)
            #expect(full.status == 503 && full.problem == "overloaded", "\(full.text)")
            #expect(await service.ask(line, as: manager, body: #"{"jti":"1"}"#).status == 201)
        }
        try await RunningService.run(with: { settings, _ in settings.tokenSecretFile = nil }) { service in
            #expect(await service.ask("POST /v1/revocations", body: #"{"jti":"1"}"#).status == 404)
            let socket = await service.webSocket("/v1/events/a")
            socket.say(#"{"op":"renew","token":"x"}"#)
            #expect(await socket.message(holding: "renewed") == #"{"control":"renewed","expires":null}"#)
        }
    }
}
