import HeraldCore

extension Service {
    /// Performs what a WebSocket client asks for, and answers it on its connection.
    func perform(_ request: consuming Request) {
        let operation = request.command.operation
        switch operation {
        case .ping: request.pong()
        case .publish: publishCommand(request)
        case .subscribe: addFilters(request)
        case .unsubscribe: removeFilters(request)
        case .renew: renewByCommand(request)
        }
    }

    /// What the connection of a command may do now. Throws that it may do nothing any more.
    func grant(of command: borrowing Request) throws(Problem) -> Grant {
        guard access.isOn else { return access.anonymous }
        // Without a lease the connection has gone, and nothing will be done.
        guard let admission = command.lease?.holder as? Admission else { return .nothing }
        let grant = admission.grant
        // It is about to be ended, but must not do more meanwhile.
        if let fault = grant.fault(at: access.now(), leeway: access.leeway) { throw Problem(fault) }
        if access.revocations.covers(grant) { throw Problem.revoked }
        return grant
    }

    private func addFilters(_ request: consuming Request) {
        let filters: [FilterName]
        let added: [FilterName]
        let position: Position
        do throws(Problem) {
            filters = try CommandChecks.filters(request.command.filters)
            position = try CommandChecks.position(request.command.after)
            let grant = try grant(of: request)
            added = try (request.lease?.holder as? Admission)?.add(filters) ?? []
            if access.isOn, request.lease == nil { throw Problem(grant, mayNot: "subscribe") }
        } catch {
            refuse(error, request)
            return
        }
        let admission = request.lease?.holder as? Admission
        switch request.addFilters(filters, position: position) {
        case .done:
            return
        case .refused(let request, .invalid):
            admission?.remove(added)
            refuse(
                Problem(
                    .badCursor,
                    "after counts in a connection's first subscription only; later filters start at its place"),
                request)
        case .refused(let request, let fault):
            admission?.remove(added)
            refuse(Problem(fault, position: position, filterLimit: limits.filters), request)
        }
    }

    private func removeFilters(_ request: consuming Request) {
        let filters: [FilterName]
        do throws(Problem) {
            filters = try CommandChecks.filters(request.command.filters)
            if request.command.after != nil { throw Problem(.badRequest, "unsubscribe takes no after") }
        } catch {
            refuse(error, request)
            return
        }
        let admission = request.lease?.holder as? Admission
        switch request.removeFilters(filters) {
        case .done:
            admission?.remove(filters)
        case .refused(let request, let fault):
            refuse(Problem(fault, position: .latest, filterLimit: limits.filters), request)
        }
    }
}

/// What has to be true of a command before it is performed.
enum CommandChecks {
    /// Where a subscription begins: at what is given, else with the next event.
    static func position(_ after: String?) throws(Problem) -> Position {
        guard let after else { return .latest }
        return try after.withBytes { text throws(Problem) in try SubscribeParameters.position(text, named: "after") }
    }

    /// Filters out of texts, at least one.
    static func filters(_ texts: [String]) throws(Problem) -> [FilterName] {
        guard !texts.isEmpty else { throw Problem(.badFilter, "there is no filter; expected topic or topics") }
        var filters: [FilterName] = []
        for text in texts {
            do throws(NameFault) {
                filters.append(try FilterName(text))
            } catch {
                throw Problem(.badFilter, error, in: text)
            }
        }
        return filters
    }
}
