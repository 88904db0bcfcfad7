/// What `Subscription.deliveries` hands to its reader.
public enum Delivery: Sendable, Equatable {
    /// An event. Within a topic their sequences ascend, and none comes twice.
    case event(Event)

    /// Events of the subscribed topics may be missing; the stream goes on after them.
    case gap(Gap)

    /// The subscription went on where it had stopped: nothing is missing.
    case resumed(Cursor)

    /// The server counts anew, as after a restart; the stream goes on with the oldest event that it keeps.
    case reset(Gap)

    /// The connection changed.
    case state(ConnectionState)
}

/// How a subscription's connection stands.
public enum ConnectionState: Sendable, Equatable {
    /// Bytes of the server come through this transport. Comes again whenever another transport has taken over.
    case connected(over: TransportKind)

    /// The connection was lost or refused; the next attempt follows after the delay.
    case waiting(delay: Duration, reason: String)

    /// A transport does not get through; the next one is tried at once.
    case changing(to: TransportKind, reason: String)
}

/// A stretch of the order of events in which some may be missing.
public struct Gap: Sendable, Equatable {
    /// Why events are missing.
    public enum Reason: Sendable, Equatable {
        /// They were no longer kept.
        case evicted

        /// The cursor was of another epoch.
        case epoch

        /// The server skipped them, because this reader is to get the latest events only.
        case conflated

        /// A reason that this version of the client does not know.
        case other(String)
    }

    /// The filter concerned, or `**` when there are several.
    public let topic: String

    /// The first that may be missing.
    public let from: Cursor

    /// The last that may be missing.
    public let to: Cursor

    /// Why.
    public let reason: Reason
}

extension Gap.Reason: CustomStringConvertible {
    /// The reason's name on the wire.
    public var description: String {
        switch self {
        case .evicted: "evicted"
        case .epoch: "epoch"
        case .conflated: "conflated"
        case .other(let name): name
        }
    }

    init(_ name: String) {
        switch name {
        case "evicted": self = .evicted
        case "epoch": self = .epoch
        case "conflated": self = .conflated
        default: self = .other(name)
        }
    }
}
