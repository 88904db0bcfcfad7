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
    /// Reads the data as JSON into a value.
    public func decode<Value: Decodable>(
        _ type: Value.Type = Value.self, using decoder: JSONDecoder = JSONDecoder()
    ) throws -> Value {
        try decoder.decode(type, from: Data(data))
    }

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
