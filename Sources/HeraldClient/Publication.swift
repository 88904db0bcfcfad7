#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// An event that is to be published.
public struct Publication: Sendable, Equatable {
    /// The data of an event that is to be published.
    public enum Payload: Sendable, Equatable {
        /// JSON text, sent as it is.
        case json([UInt8])

        /// Text.
        case text(String)

        /// Any bytes.
        case binary([UInt8])
    }

    /// The topic to publish to.
    public var topic: String

    /// What kind of event it is.
    public var type: String?

    /// The media type of the data; without one, the server's default for this form of data.
    public var contentType: String?

    /// The data.
    public var payload: Payload

    /// Makes an event that is to be published.
    public init(topic: String, payload: Payload, type: String? = nil, contentType: String? = nil) {
        self.topic = topic
        self.payload = payload
        self.type = type
        self.contentType = contentType
    }

    /// Makes an event whose data is a value as JSON.
    public init(
        topic: String, encoding value: some Encodable, type: String? = nil, using encoder: JSONEncoder = JSONEncoder()
    ) throws {
        self.init(topic: topic, payload: .json(Array(try encoder.encode(value))), type: type)
    }

    /// The event as one line of a batch, without its line break.
    func line() -> [UInt8] {
        var object = JSONWriter()
        object.member("topic", text: topic)
        if let type { object.member("type", text: type) }
        if let contentType { object.member("datacontenttype", text: contentType) }
        switch payload {
        case .json(let bytes): object.member("data", json: bytes)
        case .text(let text): object.member("data", text: text)
        case .binary(let bytes): object.member("data_base64", text: Data(bytes).base64EncodedString())
        }
        return object.finish()
    }
}

/// What the server answered to a published event.
public struct Receipt: Sendable, Equatable {
    /// The id that the event got.
    public let id: Cursor

    /// The topic that it was published to.
    public let topic: String

    /// When the server took it, as RFC 3339 text.
    public let time: String

    /// How many live readers had a matching filter when it was appended.
    public let receivers: Int

    /// Whether this is the answer to an earlier publish of the same idempotency key; nothing was published now.
    public let isRepeat: Bool

    /// The receipt as one line of JSON.
    public var json: [UInt8] {
        var object = JSONWriter()
        object.member("id", text: id.description)
        object.member("topic", text: topic)
        object.member("time", text: time)
        object.member("receivers", number: receivers)
        return object.finish()
    }
}

extension Receipt {
    /// Reads a receipt from one object of an answer.
    init(_ text: JSONText, at value: Range<Int>, isRepeat: Bool) throws {
        var strings: [String: String] = [:]
        var receivers = 0
        for (name, value) in try text.members(of: value) {
            switch name {
            case "id", "topic", "time": strings[name] = try text.string(at: value)
            case "receivers": receivers = try text.integer(at: value)
            default: break
            }
        }
        guard let id = strings["id"].flatMap({ Cursor($0) }), let topic = strings["topic"] else {
            throw HeraldError.malformed("an answer without a usable id and topic")
        }
        self.init(id: id, topic: topic, time: strings["time"] ?? "", receivers: receivers, isRepeat: isRepeat)
    }
}
