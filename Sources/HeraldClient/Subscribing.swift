extension HeraldClient {
    /// Subscribes to the events of all topics that match one of the filters.
    ///
    ///     for try await event in client.subscribe("orders/*", "invoices/**") { … }
    ///
    /// Nothing is asked of the server until the sequence is iterated.
    ///
    /// - Parameters:
    ///   - filters: Topics, in which a segment may be `*`, or the last one `**`.
    ///   - position: Where to start: with the next event, with the oldest that is kept, or after a cursor.
    ///   - transport: How events come. A cursor got over one transport resumes over any other.
    ///   - policy: What a loop over the events does when some may be missing.
    public func subscribe(
        _ filters: String..., after position: Position = .latest, transport: Transport = .automatic,
        onLoss policy: LossPolicy = .fail
    ) -> Subscription {
        subscribe(filters, after: position, transport: transport, onLoss: policy)
    }

    /// Subscribes to the events of all topics that match one of the filters, after the event of an id.
    ///
    ///     for try await event in client.subscribe("orders/*", after: last.id) { … }
    public func subscribe(
        _ filters: String..., after cursor: Cursor, transport: Transport = .automatic,
        onLoss policy: LossPolicy = .fail
    ) -> Subscription {
        subscribe(filters, after: .after(cursor), transport: transport, onLoss: policy)
    }

    /// Subscribes to the events of all topics that match one of a list of filters.
    public func subscribe(
        _ filters: [String], after position: Position = .latest, transport: Transport = .automatic,
        onLoss policy: LossPolicy = .fail
    ) -> Subscription {
        let source = SubscriptionSource(caller: caller, filters: filters, position: position, transport: transport)
        return Subscription(source: source, policy: policy)
    }

    /// Subscribes to the events of all topics that match one of a list of filters, after the event of an id.
    public func subscribe(
        _ filters: [String], after cursor: Cursor, transport: Transport = .automatic,
        onLoss policy: LossPolicy = .fail
    ) -> Subscription {
        subscribe(filters, after: .after(cursor), transport: transport, onLoss: policy)
    }
}
