import HeraldCore
import Testing

@testable import Herald

/// Who a request comes from, through the whole service.
@Suite struct IdentityTests {
    @Test func `the header counts before the parameter, and that before the cookie`() async throws {
        try await RunningService.run { service in
            let header = try await service.token { $0.publish = ["h/*"] }
            let query = try await service.token { $0.publish = ["q/*"] }
            let cookie = "Cookie: herald_token=\(try await service.token { $0.publish = ["c/*"] })"
            // The first time a token is checked, then it is remembered.
            for _ in 0..<2 {
                for (topic, headers, parameter, status) in [
                    ("h/1", ["Authorization: Bearer \(header)", cookie], "?access_token=\(query)", 201),
                    ("q/1", ["Authorization: Bearer \(header)", cookie], "?access_token=\(query)", 403),
                    ("q/1", [cookie], "?access_token=\(query)", 201), ("c/1", [cookie], "?access_token=\(query)", 403),
                    ("c/1", [cookie], "", 201), ("h/1", [cookie], "", 403),
                    ("h/1", ["Authorization: bEARER  \(header)"], "", 201),
                ] {
                    let headers = headers + ["Origin: http://x"]
                    let answer = await service.ask("POST /v1/events/\(topic)\(parameter)", headers: headers, body: "1")
                    #expect(answer.status == status, "\(topic) \(parameter) \(answer.text)")
                }
            }
        }
    }

    @Test func `a token in the query may be escaped, and is given once`() async throws {
        try await RunningService.run { service in
            let token = try await service.token()
            let escaped = token.map { $0 == "." ? "%2E" : $0 == "e" ? "%65" : "\($0)" }.joined()
            #expect(escaped != token)
            let answer = await service.ask("POST /v1/events/a?access_token=\(escaped)", body: "1")
            #expect(answer.status == 201, "\(answer.text)")
            let twice = await service.ask("POST /v1/events/a?access_token=\(token)&access_token=\(token)", body: "1")
            #expect(twice.status == 400 && twice.problem == "bad-parameter")
        }
    }

    @Test func `nobody is told that a token is needed, and a bad one that it is bad`() async throws {
        try await RunningService.run { service in
            let good = try await service.token()
            for (headers, parameter, problem, challenge) in [
                ([], "", "unauthorized", Problem.Challenge.missing),
                (["Authorization: Basic \(good)"], "", "unauthorized", .missing),
                (["Authorization: \(good)"], "", "unauthorized", .missing),
                (["Authorization: Bearer"], "", "unauthorized", .missing),
                // What is worse does not help: the first credential counts.
                (["Authorization: Basic x"], "?access_token=\(good)", "unauthorized", .missing),
                (["Authorization: Bearer x"], "?access_token=\(good)", "invalid-token", .invalid),
                (["Authorization: Bearer \(good)x"], "", "invalid-token", .invalid),
                ([], "?access_token=", "invalid-token", .invalid),
                (["Cookie: herald_token=", "Origin: http://x"], "", "invalid-token", .invalid),
                (["Authorization: Bearer hk_unknown"], "", "invalid-token", .invalid),
                (["Authorization: Bearer \(APIKeys.make())"], "", "invalid-token", .invalid),
            ] as [([String], String, String, Problem.Challenge)] {
                for _ in 0..<2 {
                    let answer = await service.ask("POST /v1/events/a\(parameter)", headers: headers, body: "1")
                    #expect(answer.status == 401 && answer.problem == problem, "\(headers) \(answer.text)")
                    #expect(answer.challenge == challenge.rawValue, "\(headers)")
                }
            }
            #expect(try service.state(of: "a") == nil)
        }
    }

    @Test func `a cookie is not believed without an origin where something changes`() async throws {
        try await RunningService.run { service in
            let token = try await service.token { $0.manage = ["**"] }
            let cookie = "Cookie: other=1; herald_token=\(token)"
            let forged = await service.ask("POST /v1/events/a", headers: [cookie], body: "1")
            #expect(forged.status == 403 && forged.problem == "forbidden", "\(forged.text)")
            #expect(try service.state(of: "a") == nil)
            let foreign = await service.ask(
                "POST /v1/events/a", headers: [cookie, "Origin: http://evil.test"], body: "1")
            #expect(foreign.status == 403 && foreign.problem == "forbidden-origin")
            let own = await service.ask("POST /v1/events/a", headers: [cookie, "Origin: http://x"], body: "1")
            #expect(own.status == 201, "\(own.text)")
            #expect(await service.ask("GET /v1/events/a", headers: [cookie]).status == 200)
            #expect(await service.ask("DELETE /v1/topics/a", headers: [cookie]).status == 403)
            #expect(await service.ask("DELETE /v1/topics/a", headers: [cookie, "Origin: http://x"]).status == 204)
            // A header needs no origin.
            #expect(await service.ask("POST /v1/events/a", as: token, body: "1").status == 201)
        }
    }

    @Test func `the cookie's name is a setting`() async throws {
        try await RunningService.run(with: { settings, _ in settings.tokenCookie = "mine" }) { service in
            let token = try await service.token()
            #expect(await service.ask("GET /v1/events/a", headers: ["Cookie: mine=\(token)"]).status == 200)
            #expect(await service.ask("GET /v1/events/a", headers: ["Cookie: herald_token=\(token)"]).status == 401)
        }
    }

    @Test func `an API key counts wherever a token does`() async throws {
        let (key, entry) = try APIKeyMaker.make(name: "ci", publish: ["a"], subscribe: [], manage: [])
        func configure(_ settings: inout ServerSettings, _ files: TestFiles) throws {
            settings.tokenSecretFile = nil
            settings.apiKeyFile = try files.write("keys.yaml", entry)
        }
        try await RunningService.run(with: configure) { service in
            let origin = "Origin: http://x"
            #expect(await service.ask("POST /v1/events/a", as: key, body: "1").status == 201)
            #expect(await service.ask("POST /v1/events/a?access_token=\(key)", body: "1").status == 201)
            let cookie = ["Cookie: herald_token=\(key)", origin]
            #expect(await service.ask("POST /v1/events/a", headers: cookie, body: "1").status == 201)
            #expect(await service.ask("POST /v1/events/b", as: key, body: "1").status == 403)
            // Without keys for tokens there is nothing a token could be checked with.
            let token = try await service.token()
            let answer = await service.ask("POST /v1/events/a", as: token, body: "1")
            #expect(answer.status == 401 && answer.problem == "invalid-token", "\(answer.text)")
            #expect(answer.body.contains("no tokens are accepted here"))
        }
    }

    @Test(arguments: [10_000, 0])
    func `a token that runs out or is revoked is refused, remembered or not`(remembered: Int) async throws {
        try await RunningService.run(with: { settings, _ in settings.tokenCache = remembered }) { service in
            let token = try await service.token {
                $0.tokenID = "7"
                $0.expiry = TestTokens.now + 100
            }
            #expect(await service.ask("GET /v1/events/a", as: token).status == 200)
            service.clock.set(99)
            #expect(await service.ask("GET /v1/events/a", as: token).status == 200)
            service.clock.set(100)
            let late = await service.ask("GET /v1/events/a", as: token)
            #expect(
                late.status == 401 && late.problem == "expired-token" && late.challenge?.contains("invalid") == true)
            service.clock.set(0)
            try service.access.revoke(
                Revocations.Entry(target: .token("7"), issuedUntil: 0, keptUntil: TestTokens.now + 1000))
            let revoked = await service.ask("GET /v1/events/a", as: token)
            #expect(revoked.status == 401 && revoked.problem == "revoked-token", "\(revoked.text)")
        }
    }

    @Test func `no more tokens are checked at a time than may be`() async throws {
        try await RunningService.run(with: { settings, _ in settings.tokenChecks = 1 }) { service in
            let token = try await service.token()
            #expect(service.access.beginCheck())
            #expect(!service.access.isIdle)
            let answer = await service.ask("GET /v1/events/a", as: token)
            #expect(answer.status == 503 && answer.problem == "overloaded", "\(answer.text)")
            service.access.endCheck()
            #expect(service.access.isIdle)
            #expect(await service.ask("GET /v1/events/a", as: token).status == 200)
            // A remembered token is not checked.
            #expect(service.access.beginCheck())
            #expect(await service.ask("GET /v1/events/a", as: token).status == 200)
            service.access.endCheck()
        }
    }

    @Test func `nothing of a credential comes into an answer`() async throws {
        try await RunningService.run { service in
            let secret = "s3cr3tOfAlice"
            let jwt = TestTokens.signed(#"{"sub":"\#(secret)"}"#)
            for credential in [secret, "hk_\(secret)", "a.\(secret).c", jwt, jwt + secret] {
                for (headers, parameter) in [
                    (["Authorization: Bearer \(credential)"], ""), (["Authorization: Basic \(credential)"], ""),
                    (["Authorization: \(credential)"], ""), ([], "?access_token=\(credential)"),
                    ([], "?access_token=\(credential)%zz"), ([], "?access_token=%FF\(credential)"),
                    (["Cookie: herald_token=\(credential)", "Origin: http://x"], ""),
                    (["Cookie: herald_token=\(credential)"], ""),
                ] {
                    for method in ["POST", "GET"] {
                        let answer = await service.ask(
                            "\(method) /v1/events/a\(parameter)", headers: headers, body: method == "POST" ? "1" : "")
                        #expect((400..<500).contains(answer.status), "\(answer.text)")
                        #expect(!answer.text.contains(secret), "\(answer.text)")
                        #expect(!answer.text.contains(credential.suffix(12)), "\(answer.text)")
                    }
                }
            }
            let socket = await service.webSocket("/v1/events/a", as: try await service.token())
            for credential in [secret, "hk_\(secret)", jwt] {
                socket.say(#"{"op":"renew","token":"\#(credential)"}"#)
                let answer = await socket.message(holding: "\"error\"")
                #expect(answer.contains("/problems/invalid-token") && !answer.contains(secret), "\(answer)")
            }
        }
    }
}
