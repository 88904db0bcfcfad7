import HeraldCore

/// What a token grants of one right: the topics that at least one of its filters matches.
///
/// Asking it allocates nothing, as every publish of a client with a token asks it.
struct FilterSet: Sendable, Hashable {
    /// The filters, each once, in the order in which they were given.
    let filters: [FilterName]

    /// No topic.
    static let none = FilterSet([])

    /// Every topic but the server's own, whose first segment begins with `~`.
    static let everything = FilterSet((try? FilterName("**")).map { [$0] } ?? [])

    /// Makes a set of filters; what is given twice counts once.
    init(_ filters: [FilterName]) {
        var seen: Set<FilterName> = []
        self.filters = filters.filter { seen.insert($0).inserted }
    }

    /// Whether nothing is granted.
    var isEmpty: Bool { filters.isEmpty }

    /// Whether all topics but the server's own are granted.
    var isEverything: Bool { filters.contains { $0.text == "**" } }

    /// Whether a topic is granted. The bytes must be a topic.
    func allows(topic: borrowing Bytes) -> Bool {
        for filter in filters where filter.matches(topic: topic) { return true }
        return false
    }

    /// Whether all that a filter matches is granted by one of the filters. The bytes must be a filter.
    ///
    /// Several grants that cover a filter only together do not allow it: the answer names one grant, or none.
    func allows(filter: borrowing Bytes) -> Bool {
        for granted in filters where granted.covers(filter: filter) { return true }
        return false
    }

    /// Whether a topic is granted.
    func allows(topic: TopicName) -> Bool {
        topic.text.withBytes { allows(topic: $0) }
    }

    /// Whether all that a filter matches is granted by one of the filters.
    func allows(filter: FilterName) -> Bool {
        filter.text.withBytes { allows(filter: $0) }
    }
}
