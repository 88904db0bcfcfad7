import HeraldCore

/// What orders and keeps events: the seam for engines that keep them on disk or share them between nodes.
///
/// An engine answers when the events are where it promises to keep them. The log in the core is what readers read;
/// for the memory engine it is also where events are kept.
public protocol Engine: Sendable {
    /// Names the sequence that events are counted in.
    var epoch: UInt32 { get }

    /// Appends all of the publications, in their order, or none. Any thread.
    ///
    /// What the publications show is gone when the call returns: an engine copies what it keeps.
    func publish(_ publications: borrowing Publications) throws(PublishFault) -> Receipts
}

/// Keeps events in memory alone: appending to the log is all that there is to do.
public struct MemoryEngine: Engine {
    private let hub: Hub

    /// Makes the engine of a hub.
    public init(hub: Hub) {
        self.hub = hub
    }

    /// Names the sequence that events are counted in.
    public var epoch: UInt32 { hub.log.epoch }

    /// Appends all of the publications, in their order, or none. Any thread.
    public func publish(_ publications: borrowing Publications) throws(PublishFault) -> Receipts {
        try hub.publish(publications)
    }
}
