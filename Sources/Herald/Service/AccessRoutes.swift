import HeraldCore

// What is done about tokens while their readers are there.

extension Service {
    /// `POST /v1/renewals/{reader}`: the reader goes on with the token that comes with the request. It is for streams
    /// whose client can only listen; a WebSocket has the command `renew`, and a poll comes with a token each time.
    func renew(_ request: consuming Request, readerFrom offset: Int, as grant: Grant) {
        do throws(Problem) {
            try PublishChecks.checkQuery(of: request)
            let text = request.path.dropFirst(offset).text()
            guard let id = ReaderID(text), let lease = access.admissions.lease(of: id),
                let admission = lease.holder as? Admission
            else {
                throw Problem(.notFound, "there is no such reader, or no more")
            }
            try access.renew(admission, by: grant, maySwitch: false)
        } catch {
            refuse(error, request)
            return
        }
        request.answer(.text(200, Self.renewed(grant, braces: true)))
    }

    /// The WebSocket command to go on with another token.
    func renewByCommand(_ request: consuming Request) {
        guard access.isOn else {
            request.say("renewed", members: Self.renewed(.open, braces: false))
            return
        }
        let token = request.command.token
        let identity = token.withBytes { access.identity(of: $0) }
        switch identity {
        case .known(let grant): renew(request, by: grant)
        case .refused(let problem): refuse(problem, request)
        case .unchecked(let token):
            check(token, request) { service, request, grant in service.renew(request, by: grant) }
        }
    }

    private func renew(_ request: consuming Request, by grant: Grant) {
        // Whose connection has gone is not answered.
        if let admission = request.lease?.holder as? Admission {
            do throws(Problem) {
                try access.renew(admission, by: grant, maySwitch: true)
            } catch {
                refuse(error, request)
                return
            }
        }
        request.say("renewed", members: Self.renewed(grant, braces: false))
    }

    private static func renewed(_ grant: Grant, braces: Bool) -> [UInt8] {
        var json = JSONWriter()
        json.open()
        json.name("expires")
        json.raw(grant.expiry.map { String($0) } ?? "null")
        json.close()
        return braces ? json.bytes : Array(json.bytes.dropFirst().dropLast())
    }

    /// `POST /v1/revocations`: from now on a token, or all that a subject was given until now, is not accepted, and the
    /// readers that are there by it end.
    func revoke(_ request: consuming Request, as grant: Grant) {
        let entry: Revocations.Entry
        do throws(Problem) {
            try PublishChecks.checkQuery(of: request)
            guard access.isOn else { throw Problem(.notFound, "without tokens there is nothing to revoke") }
            guard grant.manage.isEverything else {
                throw Problem(grant, mayNot: "revoke tokens; that needs manage of **")
            }
            entry = try RevocationText.entry(request.body, at: access.now(), life: access.revocationLife)
        } catch {
            refuse(error, request)
            return
        }
        guard access.beginCheck() else {
            refuse(.tooManyChecks, request)
            return
        }
        let parked = request.park()
        let service = self
        // The disk is not waited for on a loop's thread.
        Task {
            let outcome: Result<Void, Problem>
            do throws(Problem) { outcome = .success(try service.access.revoke(entry)) } catch {
                outcome = .failure(error)
            }
            parked.resume { request in
                service.access.endCheck()
                switch outcome {
                case .success: request.answer(RevocationText.response(entry))
                case .failure(let problem): service.refuse(problem, request)
                }
            }
        }
    }
}

/// Revocations as JSON.
enum RevocationText {
    /// The bytes of a `jti` or a `sub`.
    static let nameLength = 1024

    /// What a request to revoke asks for: `{"jti":…}` or `{"sub":…}`.
    static func entry(_ body: borrowing Bytes, at now: Int64, life: Int64) throws(Problem) -> Revocations.Entry {
        let value: JSONValue
        do throws(JSONFault) {
            value = try JSONValue(parsing: body)
        } catch {
            throw Problem(.badJSON, error.what)
        }
        guard case .object(let members) = value, members.count == 1, let member = members.first,
            ["jti", "sub"].contains(member.name), let text = member.value.asText, !text.isEmpty,
            text.utf8.count <= nameLength
        else {
            throw Problem(
                .badRevocation, "expected {\"jti\":TEXT} or {\"sub\":TEXT}, a text of 1 to \(nameLength) bytes")
        }
        return Revocations.Entry(
            target: member.name == "jti" ? .token(text) : .subject(text), issuedUntil: now, keptUntil: now + life)
    }

    /// The answer to such a request.
    static func response(_ entry: Revocations.Entry) -> Response {
        var json = JSONWriter()
        json.open()
        switch entry.target {
        case .token(let id): json.member("jti", id)
        case .subject(let subject): json.member("sub", subject)
        }
        json.member("until", entry.keptUntil)
        json.close()
        return .text(201, json.bytes)
    }
}
