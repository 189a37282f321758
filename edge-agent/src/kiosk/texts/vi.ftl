# Màn hình ở cửa. Câu ngắn, lịch sự, không trách ai: người đọc chỉ có một giây.

# Trang
starting = Đang khởi động, vui lòng chờ
look-here = Vui lòng nhìn vào đây
badge-hint = hoặc đưa thẻ ra
pin-button = Mã PIN
here-button = Tôi đã đến
too-many = Màn hình này đang mở ở quá nhiều cửa sổ. Vui lòng đóng bớt.
picture-stale = Chưa có hình mới

# Bàn phím nhập mã PIN
pin-title = Nhập mã PIN
pin-done = Xong
pin-delete = Xóa số cuối
pin-close = Đóng
pin-wait = Vui lòng chờ một chút
pin-unreachable = Chưa gửi được. Vui lòng thử lại.
pin-count = Số chữ số đã nhập

# Lời nhắc cho người đứng trước camera
come-closer = Lại gần thêm một chút
more-light = Cần thêm ánh sáng
hold-still = Vui lòng giữ yên
turn-left = Xin quay mặt sang trái
turn-right = Xin quay mặt sang phải

# Lời nhắc cho người đang được chụp ảnh đăng ký
enrol-title = Chụp ảnh đăng ký: { $name }
enrol-count = { $enrolled }/{ $wanted }
enrol-come-here = Mời đứng trước camera
enrol-look-straight = Nhìn thẳng vào camera
enrol-turn-left = Quay mặt sang trái một chút
enrol-turn-right = Quay mặt sang phải một chút
enrol-turn-back = Quay lại một chút
enrol-chin-up = Ngẩng cằm lên một chút
enrol-chin-down = Hạ cằm xuống một chút
enrol-middle = Vào giữa khung hình
enrol-less-light = Ánh sáng mạnh quá, xin bớt sáng
enrol-one-person = Mỗi lần chỉ một người

# Kết quả của một lượt qua cửa
welcome = { $part ->
    [morning] Chào buổi sáng, { $name }
    [late-morning] Chào buổi trưa, { $name }
    [noon] Chào buổi trưa, { $name }
    [afternoon] Chào buổi chiều, { $name }
    [evening] Chào buổi tối, { $name }
   *[unknown] Xin chào, { $name }
}
goodbye = Tạm biệt, { $name }
use-another = Vui lòng dùng thẻ hoặc mã PIN
use-card = Vui lòng dùng thẻ từ hoặc mã PIN
between = { $first } hay { $second }?
not-now = Hiện chưa thể vào cửa này
not-now-next = Vui lòng liên hệ văn phòng
credential-invalid = Thẻ hoặc mã chưa đúng
credential-invalid-next = Vui lòng thử lại
wait-seconds = Vui lòng chờ { $seconds } giây
wait-seconds-next = Sau đó hãy thử lại
door-locked-down = Cửa đang khóa
door-locked-down-next = Vui lòng làm theo hướng dẫn của nhà trường
not-yet-logged = Chưa ghi sổ

# Dòng trạng thái
ready = Sẵn sàng
no-camera = Không có camera
picture-black = Camera không thấy gì: cần thêm ánh sáng
picture-frozen = Hình từ camera đã dừng
picture-covered = Có vật che camera
picture-overexposed = Quá nhiều ánh sáng vào camera
adoption-digits = Mã cho máy chủ: { $digits }
fire = Báo cháy: cửa đang mở
locked-down = Đang phong tỏa
waiting-to-be-logged = { $events } lượt chưa ghi sổ
offline-minutes = Đã lưu đủ, mất mạng { $minutes } phút
offline-hours = Đã lưu đủ, mất mạng { $hours } giờ
offline-days = Đã lưu đủ, mất mạng { $days } ngày
clock-unset = Đồng hồ chưa được đặt
