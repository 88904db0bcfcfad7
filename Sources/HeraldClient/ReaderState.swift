// The one place that knows a subscription's cursor. No I/O: signals in, deliveries out.
//
// What moves the cursor: an event, a heartbeat, the `next` of a poll. What does not: `resumed` and gaps. After a gap
// that concerns one filter, events of other filters with smaller sequences may still follow, and moving the cursor to
// the gap's end would take them for repeats. A cut right after a gap shows that gap again; that is allowed, a silent
// loss is not.

/// What a transport learned, the same for all transports.
enum Signal: Sendable, Equatable {
    case connection(ConnectionState)
    case event(Event)

    /// The server's position has passed this cursor.
    case moved(Cursor)

    /// The subscription started here; counts only for one that began at the latest event.
    case started(Cursor)

    /// The same, but asked for by the client before it connected: the server will call that start a resume.
    case pinned(Cursor)
    case resumed
    case gap(Gap)
    case reset(Gap)
}

/// What is handed to the reader: a delivery, and the cursor that holds once it was taken.
struct Handed: Sendable, Equatable {
    var delivery: Delivery?
    var position: Position
}

/// The cursor of one subscription, over all its connections and transports.
struct ReaderState: Sendable, Equatable {
    private(set) var position: Position

    /// Whether the start was looked up by the client itself, so that the first `resumed` is no news to the reader.
    private var isPinned = false

    init(position: Position) { self.position = position }

    /// Takes signals in their order and gives what the reader is to see of them.
    mutating func take(_ signals: [Signal]) -> [Handed] {
        var handed: [Handed] = []
        for signal in signals {
            let before = position
            let delivery = take(signal)
            if delivery != nil || position != before {
                handed.append(Handed(delivery: delivery, position: position))
            }
        }
        return handed
    }

    private mutating func take(_ signal: Signal) -> Delivery? {
        switch signal {
        case .connection(let state):
            return .state(state)
        case .event(let event):
            return advance(to: event.id) ? .event(event) : nil
        case .moved(let cursor):
            _ = advance(to: cursor)
            return nil
        case .started(let cursor), .pinned(let cursor):
            guard position == .latest else { return nil }
            position = .after(cursor)
            if case .pinned = signal { isPinned = true }
            return nil
        case .resumed:
            defer { isPinned = false }
            guard !isPinned, case .after(let cursor) = position else { return nil }
            return .resumed(cursor)
        case .gap(let gap):
            isPinned = false
            return .gap(gap)
        case .reset(let gap):
            isPinned = false
            return .reset(gap)
        }
    }

    /// Moves on to the cursor. Says no for one that does not lie ahead: its event was handed out before.
    private mutating func advance(to cursor: Cursor) -> Bool {
        if case .after(let last) = position, last.epoch == cursor.epoch, cursor.sequence <= last.sequence {
            return false
        }
        position = .after(cursor)
        return true
    }
}

extension Signal {
    /// The signals that one message of a stream amounts to.
    static func signals(of message: ServerMessage) throws(HeraldError) -> [Signal] {
        switch message {
        case .event(let event): [.event(event)]
        case .welcome(let cursor, _): cursor.map { [.started($0)] } ?? []
        case .heartbeat(let cursor): [.moved(cursor)]
        case .resumed: [.resumed]
        case .gap(let gap): [.gap(gap)]
        case .reset(let gap): [.reset(gap)]
        case .problem(let problem), .denied(let problem): throw HeraldError.problem(problem)
        case .end(let cursor, _): cursor.map { [.moved($0)] } ?? []
        case .expiring, .notice: []
        }
    }
}
