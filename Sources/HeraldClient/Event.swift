#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// An event as the server delivered it.
public struct Event: Sendable, Equatable {
    /// The event's data, in the form in which it travelled.
    public enum Payload: Sendable, Equatable {
        /// JSON, byte for byte as it was published, but for line breaks between tokens.
        case json([UInt8])

        /// Text.
        case text(String)

        /// Any other bytes.
        case binary([UInt8])
    }

    /// The event's id, with which a subscription can be resumed right after it.
    public let id: Cursor

    /// The topic that the event was published to.
    public let topic: String

    /// What kind of event it is, if its publisher said so.
    public let type: String?

    /// When the server took the event, as RFC 3339 text.
    public let time: String

    /// The media type of the data.
    public let contentType: String

    /// The data.
    public let payload: Payload

    /// The whole event as one line of JSON, as the server sent it.
    public let json: [UInt8]

    /// The data as bytes, whatever form it travelled in. Copies text.
    public var data: [UInt8] {
        switch payload {
        case .json(let bytes), .binary(let bytes): bytes
        case .text(let text): Array(text.utf8)
        }
    }
}

extension Event {
    /// Reads an event from one JSON object.
    init(json bytes: [UInt8]) throws(HeraldError) {
        do {
            let text = JSONText(bytes: bytes)
            try self.init(text, members: try text.members(of: try text.root()))
        } catch let error as JSONError {
            throw .malformed("an event that is not JSON: \(error)")
        } catch let error as HeraldError {
            throw error
        } catch {
            throw .malformed("an event that cannot be read")
        }
    }

    /// Reads an event from the members of the object that the text is.
    init(_ text: JSONText, members: [(name: String, value: Range<Int>)]) throws {
        var strings: [String: String] = [:]
        var payload: Payload?
        for (name, value) in members {
            switch name {
            case "data":
                payload = text.isString(value) ? .text(try text.string(at: value)) : .json(Array(text.bytes[value]))
                if text.isString(value) { strings[name] = String(decoding: text.bytes[value], as: UTF8.self) }
            case "data_base64":
                guard let data = Data(base64Encoded: try text.string(at: value)) else {
                    throw HeraldError.malformed("an event whose data_base64 is not base64")
                }
                payload = .binary(Array(data))
            case "id", "topic", "type", "time", "datacontenttype":
                strings[name] = try text.string(at: value)
            default:
                break  // Members of a later version are passed over.
            }
        }
        guard let id = strings["id"].flatMap({ Cursor($0) }), let topic = strings["topic"] else {
            throw HeraldError.malformed("an event without a usable id and topic")
        }
        let contentType = strings["datacontenttype"] ?? "application/octet-stream"
        // A string under a JSON media type is JSON itself: its quotes belong to the data.
        if let literal = strings["data"], MediaType.isJSON(contentType) { payload = .json(Array(literal.utf8)) }
        self.init(
            id: id, topic: topic, type: strings["type"], time: strings["time"] ?? "", contentType: contentType,
            payload: payload ?? .binary([]), json: text.bytes)
    }
}

/// Questions about media types.
public enum MediaType {
    /// Gives the media type that fits data of unknown kind: JSON if it is valid JSON, else text, else just bytes.
    public static func fitting(_ data: [UInt8]) -> String {
        guard String(validating: data, as: UTF8.self) != nil else { return "application/octet-stream" }
        let isValidJSON = (try? JSONText(bytes: data).root()) != nil
        return isValidJSON ? "application/json" : "text/plain; charset=utf-8"
    }

    /// Whether data of this type is JSON: `application/json` or any type that ends in `+json`.
    static func isJSON(_ type: String) -> Bool {
        let essence = essence(type)
        return essence == "application/json" || essence.hasSuffix("+json")
    }

    /// The type without its parameters, in lower case.
    static func essence(_ type: String) -> String {
        let bare = type.prefix { $0 != ";" }
        return bare.filter { $0 != " " && $0 != "\t" }.lowercased()
    }
}

/// An event that is to be published in a batch.
public struct OutgoingEvent: Sendable, Equatable {
    /// The data of an outgoing event.
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
