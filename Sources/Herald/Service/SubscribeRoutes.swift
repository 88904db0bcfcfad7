import HeraldCore

extension Service {
    /// `GET /v1/events/{filter}`: the request becomes a reader of the transport that it asks for.
    func read(_ request: consuming Request, filterFrom offset: Int?, as grant: Grant) {
        var subscription: Subscription
        let lease: Lease?
        do throws(Problem) {
            subscription = try self.subscription(for: request, filterFrom: offset)
            lease = try admit(request, &subscription, filterFrom: offset, as: grant)
        } catch {
            refuse(error, request)
            return
        }
        let position = subscription.position
        switch request.subscribe(subscription, filterFrom: offset, lease: lease) {
        case .done:
            return
        case .refused(let request, let fault):
            if let lease { access.admissions.forget([lease]) }
            refuse(
                Problem(fault, position: position, filterLimit: limits.filters), request)
        }
    }

    /// Holds what a reader wants against what it may do, and enters it among those whose right can end.
    private func admit(
        _ request: borrowing Request, _ subscription: inout Subscription, filterFrom offset: Int?, as grant: Grant
    ) throws(Problem) -> Lease? {
        guard access.isOn else { return nil }
        var filters = subscription.filters
        if let offset, let filter = try? FilterName(request.path.dropFirst(offset).text()) {
            filters.insert(filter, at: 0)
        }
        for filter in filters where !grant.subscribe.allows(filter: filter) {
            throw Problem(grant, mayNot: "subscribe to \(EscapedText.quoted(filter.text, limit: 80))")
        }
        // Without filters yet, a WebSocket is of use to those who may do something on it.
        if filters.isEmpty, grant.subscribe.isEmpty, grant.publish.isEmpty {
            throw Problem(grant, mayNot: "subscribe or publish")
        }
        let now = access.now()
        switch subscription.transport {
        case .shortPoll: return nil
        case .longPoll:
            // Held no longer than its token is good for: the next poll shows whether there is another.
            if let expiry = grant.expiry {
                let left = max(0, expiry + access.leeway - now)
                subscription.waitMilliseconds = UInt32(clamping: min(Int64(subscription.waitMilliseconds), left * 1000))
            }
        case .webSocket, .serverSentEvents, .ndjson: break
        }
        let admission = Admission(grant, filters: filters, isStream: subscription.transport != .longPoll)
        let lease: Lease
        do throws(CoreFault) {
            lease = try Lease(for: request, holder: admission)
        } catch {
            throw Problem(.memoryLimit, "there is no memory for another reader")
        }
        access.admissions.enter(lease, at: now)
        // Whoever revokes it from now on meets the reader; what was revoked just before is met here.
        guard !access.isVoid(grant) else {
            access.admissions.forget([lease])
            throw Problem.revoked
        }
        return lease
    }

    /// `GET` of the echo path, for conformance suites.
    func echo(_ request: consuming Request) {
        guard request.wantsWebSocket else {
            refuse(Problem(.upgradeRequired, "this path only answers WebSocket handshakes"), request)
            return
        }
        if let fault = request.handshakeFault {
            refuse(Problem(fault), request)
            return
        }
        switch request.echo() {
        case .done:
            return
        case .refused(let request, let fault):
            refuse(Problem(fault, position: .latest, filterLimit: limits.filters), request)
        }
    }

    private func subscription(
        for request: borrowing Request, filterFrom offset: Int?
    ) throws(Problem) -> Subscription {
        var input = SubscribeInput()
        try request.forEachQueryPair(fault: { Problem($0) }) { name, value throws(Problem) in
            try input.query.take(name, value, longest: limits.waitSeconds)
        }
        input.isHead = request.method == .head
        input.wantsWebSocket = !input.isHead && request.wantsWebSocket
        if input.wantsWebSocket, let fault = request.handshakeFault { throw Problem(fault) }
        if let offset {
            input.hasPathFilter = true
            let filter = request.path.dropFirst(offset)
            if let fault = FilterName.fault(in: filter) { throw Problem(.badFilter, fault, in: filter.text()) }
        }
        if let cursor = request.header(.lastEventID), !cursor.isEmpty {
            input.lastEventID = try SubscribeParameters.position(cursor, named: "Last-Event-ID")
        }
        input.prefer = request.header(.prefer)?.text()
        input.accept = request.header(.accept)?.text()
        let subscription = try SubscribeParameters(limits: limits).subscription(input)
        // A stream that begins now would only be told to go.
        guard subscription.transport == .shortPoll || !hub.isDraining else {
            throw Problem(.draining, "the server is shutting down; come back later")
        }
        return subscription
    }
}
