/// What the messages of a stream mean to its connection, the same on all streams.
struct StreamMessages: Sendable {
    let lane: Lane
    let watch: SilenceWatch
    let renewer: Renewer

    /// The longest time that the stream may be silent.
    let silenceMax: Duration

    /// The signals that a message amounts to. Throws what ends the stream.
    func signals(of message: ServerMessage) throws(HeraldError) -> [Signal] {
        switch message {
        case .welcome(_, let heartbeat?) where heartbeat > .zero:
            watch.setLimit(min(heartbeat * 5 / 2, silenceMax))
        case .end(_, let retry?):
            lane.setReconnectionTime(retry)
        case .expiring(let expiry):
            renewer.expiring(expiry)
        default:
            break
        }
        return try Signal.signals(of: message)
    }

    /// Takes what each part of a piece amounts to, up to the part that ends the stream.
    func take<Part>(
        _ parts: [Part], after first: [Signal] = [], _ signals: (Part) throws -> [Signal]
    ) async throws {
        var all = first
        do {
            for part in parts { all += try signals(part) }
        } catch {
            if !all.isEmpty { try await lane.take(all) }
            throw error
        }
        if !all.isEmpty { try await lane.take(all) }
    }
}
