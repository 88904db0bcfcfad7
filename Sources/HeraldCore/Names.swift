internal import CHeraldBase
internal import CHeraldLog

/// What is wrong with the name of a topic or a filter.
public struct NameFault: Error, Sendable, Hashable {
    /// What is wrong, e.g. "is empty", to follow the segment or the name.
    public let what: String

    /// The segment that is wrong, from 1; 0: the name as a whole.
    public let segment: Int

    /// The first bytes of the segment, as text.
    public let text: String

    init(_ fault: hr_name_fault) {
        what = unsafe fault.what.map { unsafe String(cString: $0) } ?? "is no name"
        segment = unsafe Int(fault.segment)
        let shown = unsafe hr_slice(data: fault.text.data, len: min(fault.text.len, 64))
        text = unsafe shown.text
    }

    /// Makes a fault of a name as a whole.
    public init(_ what: String) {
        self.what = what
        segment = 0
        text = ""
    }
}

/// The name of a topic: 1 to 32 segments joined by `/`, each 1 to 128 bytes of `A-Z a-z 0-9 - _ . ~ : @`.
public struct TopicName: Hashable, Sendable {
    /// The name.
    public let text: String

    /// Takes a text that is a topic; throws what is wrong with it otherwise.
    public init(_ text: String) throws(NameFault) {
        if let fault = text.withBytes({ TopicName.fault(in: $0) }) { throw fault }
        self.text = text
    }

    /// What is wrong with bytes as a topic; nil when they are one.
    public static func fault(in name: borrowing Bytes) -> NameFault? {
        var fault = unsafe hr_name_fault()
        return unsafe hr_topic_check(name.slice, &fault) ? nil : NameFault(fault)
    }

    /// Whether a topic's first segment begins with `~`: the server's own.
    public static func isReserved(_ name: borrowing Bytes) -> Bool {
        unsafe hr_topic_is_reserved(name.slice)
    }
}

/// What is subscribed to: a topic in which a segment may be `*`, or the last may be `**`.
public struct FilterName: Hashable, Sendable {
    /// The filter.
    public let text: String

    /// Takes a text that is a filter; throws what is wrong with it otherwise.
    public init(_ text: String) throws(NameFault) {
        if let fault = text.withBytes({ FilterName.fault(in: $0) }) { throw fault }
        self.text = text
    }

    /// What is wrong with bytes as a filter; nil when they are one.
    public static func fault(in name: borrowing Bytes) -> NameFault? {
        var fault = unsafe hr_name_fault()
        return unsafe hr_filter_check(name.slice, &fault) ? nil : NameFault(fault)
    }

    /// Whether the filter matches a topic.
    public func matches(_ topic: TopicName) -> Bool {
        unsafe text.withSlice { filter in
            unsafe topic.text.withSlice { topic in unsafe hr_filter_matches(filter, topic) }
        }
    }
    /// Whether the filter matches a topic, looked at where it lies; the bytes must be a topic.
    public func matches(topic: borrowing Bytes) -> Bool {
        let name = unsafe topic.slice
        return unsafe text.withSlice { filter in unsafe hr_filter_matches(filter, name) }
    }

    /// Whether the filter matches every topic that another matches; the bytes must be a filter.
    public func covers(filter: borrowing Bytes) -> Bool {
        let name = unsafe filter.slice
        return unsafe text.withSlice { outer in unsafe hr_filter_covers(outer, name) }
    }
}
