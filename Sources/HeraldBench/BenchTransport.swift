/// A way to get events, by the name that the command line has for it.
public enum BenchTransport: String, Sendable, CaseIterable {
    case poll, longpoll, sse, ndjson, ws

    /// The transport's name for people.
    public var title: String {
        switch self {
        case .poll: "short-poll"
        case .longpoll: "long-poll"
        case .sse: "SSE"
        case .ndjson: "NDJSON"
        case .ws: "WebSocket"
        }
    }
}
