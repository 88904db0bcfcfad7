import HeraldCore

// About once a second the core publishes an event that every loop must read back, as a proof that it lives. It is
// nobody's event: bounds are widened by what it takes, and counts leave it out.

/// The topic on which loops prove that they live, of which only the newest event is kept.
enum OwnTopic {
    /// All of the server's own topics, as a filter.
    static let filter = "~herald/**"

    /// The number of the server's own topics, and of its own filters.
    static let count = 1

    /// The topic's name.
    static let name = try? TopicName("~herald/probe")
}

extension LogStatistics {
    /// The statistics without the server's own topic and filter; `own` is the topic's state, if there is one yet.
    func without(_ own: TopicState?) -> LogStatistics {
        var rest = self
        rest.filters -= min(filters, UInt64(OwnTopic.count))
        guard let own else { return rest }
        rest.topics -= min(topics, UInt64(OwnTopic.count))
        rest.retainedEvents -= min(retainedEvents, own.retained)
        rest.retainedBytes -= min(retainedBytes, own.retainedBytes)
        // All that it no longer keeps has made way for a newer one.
        rest.evicted.count -= min(evicted.count, own.published - min(own.published, own.retained))
        return rest
    }
}
