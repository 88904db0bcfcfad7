internal import CHeraldBase
internal import CHeraldHub
internal import CHeraldLog
internal import CHeraldWire

/// One event to publish, as it lies in the request; cannot outlive that.
@safe
public struct Publication: ~Escapable {
    private let core: hr_publication

    @_lifetime(copy whole)
    init(_ core: hr_publication, within whole: borrowing Publications) {
        unsafe self.core = core
    }

    /// The topic; empty when the body names none.
    public var topic: Bytes {
        @_lifetime(copy self)
        get { unsafe Bytes(core.topic, within: self) }
    }

    /// The type; empty when there is none.
    public var type: Bytes {
        @_lifetime(copy self)
        get { unsafe Bytes(core.type, within: self) }
    }

    /// The content type.
    public var contentType: Bytes {
        @_lifetime(copy self)
        get { unsafe Bytes(core.content_type, within: self) }
    }

    /// The data.
    public var data: Bytes {
        @_lifetime(copy self)
        get { unsafe Bytes(core.data, within: self) }
    }
}

extension Bytes {
    @_lifetime(copy publication)
    init(_ slice: hr_slice, within publication: borrowing Publication) {
        unsafe self.slice = slice
    }
}

/// The events that a request asks to publish, in their order; cannot outlive that.
@safe
public struct Publications: ~Escapable {
    private let one: hr_publication
    /// The core's batch; nil when there is only `one`.
    private let batch: OpaquePointer?

    /// The number of events; at least one.
    public let count: Int

    @_lifetime(borrow owner)
    init(one: hr_publication, of owner: borrowing PublishRequest) {
        unsafe self.one = one
        unsafe batch = nil
        count = 1
    }

    @_lifetime(borrow owner)
    init(batch: OpaquePointer, of owner: borrowing PublishRequest) {
        unsafe one = hr_publication()
        unsafe self.batch = batch
        count = unsafe hr_batch_count(batch)
    }

    /// The event at a place. Precondition: `index` is less than ``count``.
    public subscript(index: Int) -> Publication {
        @_lifetime(copy self)
        get {
            precondition(index >= 0 && index < count, "a publication outside its batch")
            return unsafe Publication(core(at: index), within: self)
        }
    }

    private func core(at index: Int) -> hr_publication {
        guard let batch = unsafe batch, let item = unsafe hr_batch_item(batch, index) else { return unsafe one }
        return unsafe item.pointee
    }

    /// Calls `body` with all publications side by side, which are good until it returns.
    func withCore<Result>(_ body: (UnsafeBufferPointer<hr_publication>) -> Result) -> Result {
        guard unsafe batch != nil else {
            return unsafe withUnsafePointer(to: one) { unsafe body(UnsafeBufferPointer(start: $0, count: 1)) }
        }
        return unsafe withUnsafeTemporaryAllocation(of: hr_publication.self, capacity: count) { items in
            for index in 0..<count {
                unsafe items.initializeElement(at: index, to: core(at: index))
            }
            return unsafe body(UnsafeBufferPointer(items))
        }
    }

    /// Appends all or none to the hub's log.
    func append(to hub: OpaquePointer) throws(PublishFault) -> Receipts {
        var failed = 0
        var status = hr_status.ok
        let receipts = unsafe withCore { items -> Receipts in
            if items.count == 1 {
                var receipt = hr_receipt()
                status = unsafe hr_hub_publish(hub, items.baseAddress, 1, &receipt, &failed)
                return .one(Receipt(receipt))
            }
            var receipts = [hr_receipt](repeating: hr_receipt(), count: items.count)
            status = unsafe hr_hub_publish(hub, items.baseAddress, items.count, &receipts, &failed)
            return .many(receipts.map { Receipt($0) })
        }
        if status != .ok { throw PublishFault(status, index: failed) }
        return receipts
    }
}

/// Where an event came to stand in the log.
public struct Receipt: Sendable, Hashable {
    /// Its sequence.
    public let sequence: UInt64
    /// Its time, in milliseconds since 1970.
    public let timeMilliseconds: Int64
    /// The live readers whose filters match it.
    public let receivers: UInt32

    /// Makes a receipt.
    public init(sequence: UInt64, timeMilliseconds: Int64, receivers: UInt32) {
        self.sequence = sequence
        self.timeMilliseconds = timeMilliseconds
        self.receivers = receivers
    }

    init(_ core: hr_receipt) {
        self.init(sequence: core.sequence, timeMilliseconds: core.time_ms, receivers: core.receivers)
    }

    var core: hr_receipt {
        hr_receipt(sequence: sequence, time_ms: timeMilliseconds, receivers: receivers)
    }
}

/// One receipt for each of the events published together. A single one costs no array.
public enum Receipts: Sendable, Hashable {
    /// Of a single event.
    case one(Receipt)
    /// Of several events, in their order.
    case many([Receipt])

    /// The number of receipts.
    public var count: Int {
        switch self {
        case .one: 1
        case .many(let receipts): receipts.count
        }
    }

    /// The receipt at a place. Precondition: `index` is less than ``count``.
    public subscript(index: Int) -> Receipt {
        switch self {
        case .one(let receipt): receipt
        case .many(let receipts): receipts[index]
        }
    }
}

/// Why events were not published. None of those that came together was.
public enum PublishFault: Error, Sendable, Hashable {
    /// There would be too many topics.
    case tooManyTopics
    /// One event alone is more than may be kept.
    case tooLarge(index: Int)
    /// There is no memory.
    case outOfMemory

    init(_ status: hr_status, index: Int) {
        switch status {
        case .limitReached: self = .tooManyTopics
        case .tooBig: self = .tooLarge(index: index)
        case .ok, .outOfMemory, .invalid, .notFound, .beyondHead, .closed, .badAddress, .addressInUse,
            .accessDenied, .outOfDescriptors, .protocolError, .ioError, .tooManyOfAddress, .busy:
            self = .outOfMemory
        }
    }
}
