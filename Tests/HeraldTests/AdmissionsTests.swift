import HeraldCore
import Testing

@testable import Herald

/// How readers are warned and ended, through the whole service, by a clock that the test sets.
@Suite struct AdmissionsTests {
    private static let leeway: Int64 = 5

    private func run(
        with change: (inout ServerSettings, TestFiles) throws -> Void = { _, _ in },
        _ body: (RunningService) async throws -> Void
    ) async throws {
        try await RunningService.run(
            with: { settings, files in
                settings.tokenLeeway = .seconds(Self.leeway)
                settings.tokenWarning = .seconds(60)
                try change(&settings, files)
            }, body)
    }

    /// A token that runs out so many seconds after the tests' beginning.
    private func token(
        _ service: RunningService, endingAt end: Int64, _ change: (inout TokenRequest) -> Void = { _ in }
    ) async throws -> String {
        try await service.token {
            $0.expiry = TestTokens.now + end
            change(&$0)
        }
    }

    private func sweep(_ service: RunningService, at offset: Int64) {
        service.clock.set(offset)
        service.access.sweep()
    }

    /// The id in a warning.
    private func id(in warning: String) -> String {
        warning.components(separatedBy: "/v1/renewals/").last.map { String($0.prefix(32)) } ?? ""
    }

    private func revoke(_ service: RunningService, _ target: Revocations.Target) throws {
        try service.access.revoke(
            Revocations.Entry(target: target, issuedUntil: .max, keptUntil: TestTokens.now + 1000))
    }

    // MARK: Times

    @Test func `a stream is warned once, and ended when its token is not accepted any more`() async throws {
        try await run { service in
            let reader = await service.stream(as: try await token(service, endingAt: 100))
            sweep(service, at: 39)
            #expect(service.access.counts.admissions.warned == 0)
            sweep(service, at: 40)
            let warning = await reader.read(until: "}\n\n")
            #expect(warning.contains("event: herald.expiring\ndata: {\"expires_in\":60,\"renew\":\"/v1/renewals/"))
            #expect(ReaderID(id(in: warning)) != nil)
            sweep(service, at: 41)
            sweep(service, at: 100)
            sweep(service, at: 104)
            #expect(service.access.counts.admissions.warned == 1)
            #expect(service.access.counts.admissions.expired == 0)
            // It still reads.
            let publisher = try await service.token()
            await service.publish("still", on: "a/1", as: publisher)
            let more = await reader.read(until: "still")
            #expect(more.hasSuffix("still") && !more.contains("expiring"), "\(more)")
            sweep(service, at: 105)
            let end = await reader.rest()
            #expect(end.contains("event: herald.end\ndata: {\"type\":\"/problems/expired-token\","), "\(end)")
            #expect(service.access.counts.admissions.expired == 1)
            #expect(await soon { service.access.counts.admissions.readers == 0 })
            sweep(service, at: 1000)
            #expect(service.access.counts.admissions.expired == 1)
            #expect(service.access.counts.admissions.revoked == 0)
        }
    }

    @Test func `a token that lives for less than the warning is warned of at once`() async throws {
        try await run { service in
            let reader = await service.stream(as: try await token(service, endingAt: 10))
            sweep(service, at: 3)
            #expect((await reader.read(until: "}\n\n")).contains("{\"expires_in\":7,"))
            sweep(service, at: 4)
            #expect(service.access.counts.admissions.warned == 1)
        }
    }

    @Test func `a token that never runs out is neither warned of nor ended`() async throws {
        try await run { service in
            _ = await service.stream(as: try await service.token())
            sweep(service, at: 1 << 40)
            #expect(service.access.counts.admissions.warned == 0 && service.access.counts.admissions.expired == 0)
            #expect(service.access.admissions.dueCount == 0)
        }
    }

    @Test func `every kind of stream is warned and ended in its own form`() async throws {
        try await run { service in
            let token = try await token(service, endingAt: 100)
            let lines = TestClient(port: service.port)
            lines.request("GET /v1/events/a/*", ["Accept: application/x-ndjson", "Authorization: Bearer \(token)"])
            _ = await lines.read(until: "\"welcome\"")
            let socket = await service.webSocket("/v1/events/a/*", as: token)
            sweep(service, at: 40)
            #expect((await lines.read(until: "}\n")).isEmpty == false)
            let warning = await lines.read(until: "}\n")
            #expect(warning.contains("\"control\":\"expiring\",\"expires_in\":60,"), "\(warning)")
            let message = await socket.message(holding: "\"expiring\"")
            #expect(message.contains("\"control\":\"expiring\",\"expires_in\":60,"), "\(message)")
            #expect(id(in: message) != id(in: warning))
            sweep(service, at: 105)
            #expect((await lines.rest()).contains("\"control\":\"end\",\"type\":\"/problems/expired-token\""))
            #expect((await socket.message(holding: "\"end\"")).contains("/problems/expired-token"))
            #expect(await socket.message(holding: "close") == "close 1008 expired-token")
        }
    }

    @Test func `a clock that jumps forth ends all without a warning`() async throws {
        try await run { service in
            var readers: [TestClient] = []
            for end in [Int64(100), 200, 300] {
                readers.append(await service.stream(as: try await token(service, endingAt: end)))
            }
            sweep(service, at: 1_000_000)
            for reader in readers {
                let text = await reader.rest()
                #expect(text.contains("event: herald.end") && !text.contains("herald.expiring"), "\(text)")
            }
            #expect(service.access.counts.admissions.warned == 0 && service.access.counts.admissions.expired == 3)
        }
    }

    @Test func `a clock that jumps back ends nobody early`() async throws {
        try await run { service in
            let reader = await service.stream(as: try await token(service, endingAt: 100))
            sweep(service, at: -1_000_000)
            sweep(service, at: 39)
            #expect(service.access.counts.admissions.warned == 0)
            sweep(service, at: 40)
            #expect(service.access.counts.admissions.warned == 1)
            sweep(service, at: -5)
            sweep(service, at: 104)
            #expect(service.access.counts.admissions.expired == 0)
            sweep(service, at: 105)
            #expect((await reader.rest()).contains("herald.end"))
        }
    }

    // MARK: Renewals

    @Test func `a reader that is renewed in time is not warned, and has a new end`() async throws {
        try await run { service in
            let reader = await service.webSocket("/v1/events/a/*", as: try await token(service, endingAt: 100))
            let next = try await token(service, endingAt: 300)
            reader.say(#"{"op":"renew","ref":7,"token":"\#(next)"}"#)
            let answer = await reader.message(holding: "\"renewed\"")
            #expect(answer == #"{"control":"renewed","ref":7,"expires":\#(TestTokens.now + 300)}"#)
            #expect(service.access.admissions.dueCount == 1, "the old end is forgotten")
            sweep(service, at: 239)
            #expect(service.access.counts.admissions.warned == 0 && service.access.counts.admissions.expired == 0)
            sweep(service, at: 240)
            #expect((await reader.message(holding: "expiring")).contains("\"expires_in\":60"))
            sweep(service, at: 305)
            #expect(await reader.message(holding: "close") == "close 1008 expired-token")
            #expect(service.access.counts.admissions.renewed == 1)
        }
    }

    @Test func `a reader that is renewed after the warning is warned again`() async throws {
        try await run { service in
            let reader = await service.stream(as: try await token(service, endingAt: 100))
            sweep(service, at: 40)
            let id = id(in: await reader.read(until: "}\n\n"))
            let answer = await service.ask("POST /v1/renewals/\(id)", as: try await token(service, endingAt: 200))
            #expect(answer.status == 200 && answer.body == "{\"expires\":\(TestTokens.now + 200)}", "\(answer.text)")
            sweep(service, at: 139)
            #expect(service.access.counts.admissions.warned == 1 && service.access.counts.admissions.expired == 0)
            sweep(service, at: 140)
            #expect((await reader.read(until: "}\n\n")).contains("{\"expires_in\":60,"))
            // A token that never runs out ends all that.
            let last = await service.ask("POST /v1/renewals/\(id)", as: try await service.token())
            #expect(last.body == "{\"expires\":null}")
            #expect(service.access.admissions.dueCount == 0)
            sweep(service, at: 1_000_000)
            let counts = service.access.counts.admissions
            #expect((counts.readers, counts.warned, counts.renewed, counts.expired) == (1, 2, 2, 0))
        }
    }

    @Test func `a stream is renewed by its own subject's tokens, if they cover what it reads`() async throws {
        try await run { service in
            let reader = await service.stream(as: try await token(service, endingAt: 100))
            sweep(service, at: 40)
            let id = id(in: await reader.read(until: "}\n\n"))
            let admission = try #require(
                ReaderID(id).flatMap { service.access.admissions.lease(of: $0)?.holder as? Admission })
            for (token, problem) in [
                (try await service.token { $0.subject = "bob" }, "another subject's"),
                (try await service.token { $0.subject = nil }, "another subject's"),
                (try await service.token { $0.subscribe = ["a/1", "b/**"] }, "subscribe to \\\"a/*\\\""),
                (try await service.token { $0.subscribe = [] }, "subscribe to \\\"a/*\\\""),
            ] {
                let answer = await service.ask("POST /v1/renewals/\(id)", as: token)
                #expect(answer.status == 403 && answer.body.contains(problem), "\(answer.text)")
                #expect(answer.challenge == Problem.Challenge.insufficient.rawValue)
                #expect(admission.grant.expiry == TestTokens.now + 100, "nothing is changed")
            }
            #expect(await service.ask("POST /v1/renewals/\(id)").status == 401, "nobody has a token")
            let good = try await service.token()
            for name in [String(repeating: "0", count: 32), id.uppercased(), id + "0", "x", ""]
            where name != id {
                let answer = await service.ask("POST /v1/renewals/\(name)", as: good)
                #expect(answer.status == 404 && answer.problem == "not-found", "\(answer.text)")
            }
            #expect(await service.ask("POST /v1/renewals/\(id)?x=1", as: good).status == 400)
            #expect(service.access.counts.admissions.renewed == 0)
            sweep(service, at: 105)
            #expect((await reader.rest()).contains("herald.end"))
            #expect(await soon { service.access.counts.admissions.readers == 0 })
            #expect(await service.ask("POST /v1/renewals/\(id)", as: good).status == 404)
        }
    }

    @Test func `a reader that is about to end is not renewed`() throws {
        let admissions = Admissions(warning: 0, leeway: 0)
        let admission = Admission(.open, filters: [], isStream: true)
        try admissions.renew(admission, by: .open, at: 0) { _, _ in }
        admission.update { $0.isEnding = true }
        #expect(throws: Problem.self) { try admissions.renew(admission, by: .open, at: 0) { _, _ in } }
        #expect(admissions.counts.renewed == 1)
    }

    @Test func `a WebSocket may begin without a token and go on with one`() async throws {
        try await run(with: { settings, _ in settings.anonymousSubscribe = ["open/*"] }) { service in
            let socket = await service.webSocket("/v1/events/open/*")
            socket.say(#"{"op":"subscribe","topic":"a/*"}"#)
            #expect((await socket.message(holding: "error")).contains("/problems/unauthorized"))
            // The token has to cover what is read already.
            socket.say(
                #"{"op":"renew","token":"\#(try await token(service, endingAt: 100) { $0.subscribe = ["a/*"] })"}"#)
            #expect((await socket.message(holding: "error")).contains("/problems/forbidden"))
            let next = try await token(service, endingAt: 100) { $0.subscribe = ["a/*", "open/*"] }
            socket.say(#"{"op":"renew","token":"\#(next)"}"#)
            _ = await socket.message(holding: "\"renewed\"")
            socket.say(#"{"op":"subscribe","topic":"a/*"}"#)
            #expect((await socket.message(holding: "subscribed")).contains("\"a/*\""))
            // What it reads now has to be covered, too, until it reads that no more.
            let narrow = try await token(service, endingAt: 200) {
                $0.subject = "bob"
                $0.subscribe = ["open/*"]
            }
            socket.say(#"{"op":"renew","token":"\#(narrow)"}"#)
            #expect((await socket.message(holding: "error")).contains("a/*"))
            socket.say(#"{"op":"unsubscribe","topic":"a/*"}"#)
            _ = await socket.message(holding: "unsubscribed")
            socket.say(#"{"op":"renew","token":"\#(narrow)"}"#)
            _ = await socket.message(holding: "\"renewed\"")
            sweep(service, at: 205)
            #expect(await socket.message(holding: "close") == "close 1008 expired-token")
            #expect(service.access.counts.admissions.renewed == 2)
        }
    }

    // MARK: Revocations

    @Test func `who is revoked is ended, and nobody else`() async throws {
        try await run { service in
            let alice = await service.stream(as: try await service.token { $0.tokenID = "1" })
            let second = await service.stream(as: try await service.token { $0.tokenID = "2" })
            let bob = await service.stream(as: try await service.token { $0.subject = "bob" })
            #expect(service.access.counts.admissions.readers == 3)
            try revoke(service, .token("1"))
            let end = await alice.rest()
            #expect(end.contains("event: herald.end\ndata: {\"type\":\"/problems/revoked-token\","), "\(end)")
            #expect(await soon { service.access.counts.admissions.readers == 2 })
            try revoke(service, .subject("alice"))
            #expect((await second.rest()).contains("revoked-token"))
            #expect(await soon { service.access.counts.admissions.readers == 1 })
            let publisher = try await service.token { $0.subject = "carol" }
            await service.publish("still", on: "a/1", as: publisher)
            let more = await bob.read(until: "still")
            #expect(more.hasSuffix("still") && !more.contains("herald.end"), "\(more)")
            #expect(service.access.counts.admissions.revoked == 2)
            #expect(service.access.counts.admissions.expired == 0)
        }
    }

    @Test func `a reader is ended once, however often it is found`() async throws {
        try await run { service in
            let reader = await service.stream(as: try await token(service, endingAt: 100))
            for _ in 0..<3 { service.access.admissions.revoke { _ in true } }
            service.access.admissions.sweep(at: TestTokens.now + 1000)
            #expect((await reader.rest()).components(separatedBy: "herald.end").count == 2)
            let counts = service.access.counts.admissions
            #expect((counts.revoked, counts.expired, counts.warned) == (1, 0, 0))
        }
    }

    @Test func `who is renewed by what was just revoked is ended`() async throws {
        try await run { service in
            let reader = await service.stream(as: try await token(service, endingAt: 100))
            sweep(service, at: 40)
            let id = try #require(ReaderID(id(in: await reader.read(until: "}\n\n"))))
            let admission = try #require(service.access.admissions.lease(of: id)?.holder as? Admission)
            let next = Grant(subject: "alice", tokenID: "2", subscribe: .everything)
            try revoke(service, .token("2"))
            let problem = #expect(throws: Problem.self) {
                try service.access.renew(admission, by: next, maySwitch: false)
            }
            #expect(problem?.kind == .revokedToken)
            #expect((await reader.rest()).contains("revoked-token"))
        }
    }

    @Test func `readers by a key that is gone are ended`() async throws {
        let (gone, goneEntry) = try APIKeyMaker.make(name: "ci", publish: [], subscribe: ["a/*"], manage: [])
        let (kept, keptEntry) = try APIKeyMaker.make(name: "kept", publish: ["a/*"], subscribe: ["a/*"], manage: [])
        let (new, newEntry) = try APIKeyMaker.make(name: "ci", publish: [], subscribe: ["a/*"], manage: [])
        func configure(_ settings: inout ServerSettings, _ files: TestFiles) throws {
            settings.apiKeyFile = try files.write("keys.yaml", goneEntry + keptEntry)
        }
        try await run(with: configure) { service in
            let first = await service.stream(as: gone)
            let second = await service.stream(as: kept)
            let third = await service.stream(as: try await service.token())
            // Another secret under the same name, with the same rights.
            try service.files.write("keys.yaml", newEntry + keptEntry)
            service.access.keys.reload(because: "a test")
            service.access.sweep()
            #expect((await first.rest()).contains("revoked-token"))
            #expect(await service.ask("GET /v1/events/a/*", as: gone).status == 401)
            #expect(await service.ask("GET /v1/events/a/*", as: new).status == 200)
            await service.publish("still", on: "a/1", as: kept)
            for reader in [second, third] {
                let more = await reader.read(until: "still")
                #expect(more.hasSuffix("still") && !more.contains("herald.end"), "\(more)")
            }
            #expect(service.access.counts.admissions.revoked == 1)
        }
    }

    // MARK: Polls

    @Test func `a held poll is not warned, but is revoked`() async throws {
        try await run { service in
            let poll = TestClient(port: service.port)
            let token = try await token(service, endingAt: 100)
            poll.request("GET /v1/events/a/*?wait=60", ["Connection: close", "Authorization: Bearer \(token)"])
            #expect(await soon { service.access.counts.admissions.readers == 1 })
            #expect(service.access.admissions.dueCount == 0)
            sweep(service, at: 40)
            #expect(service.access.counts.admissions.warned == 0)
            try revoke(service, .subject("alice"))
            let answer = Answer(await poll.rest())
            #expect(answer.status == 401 && answer.problem == "revoked-token", "\(answer.text)")
            #expect(answer.challenge == Problem.Challenge.invalid.rawValue)
            #expect(answer.text.contains("Content-Type: application/problem+json"))
            #expect(await soon { service.access.counts.admissions.readers == 0 })
        }
    }

    @Test func `a poll is held no longer than its token is good for`() async throws {
        try await run { service in
            let token = try await token(service, endingAt: 100)
            // Accepted for the last second of the leeway.
            service.clock.set(104)
            let answer = await service.ask("GET /v1/events/a/*?wait=60", as: token)
            #expect(answer.status == 204 || answer.status == 200, "\(answer.text)")
            #expect(await soon { service.access.counts.admissions.readers == 0 })
        }
    }

    // MARK: Going

    @Test func `readers that have gone are forgotten`() async throws {
        try await run { service in
            let token = try await token(service, endingAt: 100)
            do {
                var readers: [TestClient] = []
                for number in 0..<20 {
                    readers.append(
                        number % 2 == 0
                            ? await service.stream(as: token) : await service.webSocket("/v1/events/a/*", as: token))
                }
                #expect(await soon { service.access.counts.admissions.readers == 20 })
                #expect(service.access.admissions.dueCount == 20)
            }
            #expect(await soon { service.access.counts.admissions.readers == 0 })
            #expect(service.access.admissions.dueCount == 0)
            sweep(service, at: 1000)
            #expect(service.access.counts.admissions.warned == 0 && service.access.counts.admissions.expired == 0)
        }
    }

    @Test func `who does not become a reader is forgotten at once`() async throws {
        try await run { service in
            let token = try await token(service, endingAt: 100)
            let beyond = "\(Cursor(epoch: service.hub.log.epoch, sequence: 1 << 40))"
            for accept in ["text/event-stream", "application/x-ndjson"] {
                let answer = await service.ask(
                    "GET /v1/events/a/*?after=\(beyond)", as: token, headers: ["Accept: \(accept)"])
                #expect(answer.status == 400 && answer.problem == "bad-cursor", "\(answer.text)")
            }
            #expect(service.access.counts.admissions.readers == 0 && service.access.admissions.dueCount == 0)
        }
    }
}
